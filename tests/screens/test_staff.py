"""What the staff looks at: desk and doctor's room."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

from aiokafka import AIOKafkaProducer
from playwright.sync_api import Page, expect

from tests.screens.board import RunningBoard
from tests.screens.conftest import Look
from tests.screens.hospital import NAMES, SLOTS
from tests.waiting import until


def _press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def _book(desk: Page, patient: str) -> None:
    _press(desk, "Escape", "b")
    desk.keyboard.type(patient)
    _press(desk, "Enter")


def test_a_receptionist_books_until_full_by_keyboard_alone_and_another_one_sees_it(
    board: RunningBoard, look: Look
) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1], capacity=2)
    mine, theirs = (look(board.page("desk", hospital, role="reception"), expecting="status of 409") for _ in range(2))
    hall = look(board.page("hall", hospital))
    said, rows = mine.locator(".outcomes li").first, theirs.locator("tbody tr")
    expect(theirs.locator(".pools button").first).to_contain_text("Seats 0/2")
    expect(mine.locator("input[name=patient_id]")).to_be_enabled()
    for number, outcome in enumerate(
        ("1: a seat with Dr Asha Rao", "2: a seat with Dr Asha Rao", "3: waits as number 1"), 1
    ):
        _book(mine, f"p{number}")
        expect(said).to_have_text(outcome)
        expect(rows).to_have_count(number)
    expect(theirs.locator(".pools button").first).to_contain_text("Seats 2/2")
    _book(mine, "p1")
    expect(said).to_have_text("Not done: The patient has a token for this time already.")

    # The second receptionist checks one in; the first makes the third an emergency, by keys.
    theirs.locator("tbody tr").nth(1).focus()
    _press(theirs, "c")
    expect(theirs.locator(".outcomes li").first).to_have_text("2: is here")
    expect(mine.locator("tbody tr").nth(1)).to_contain_text("Here")
    expect(hall.locator("li .next b")).to_have_text("2")
    _press(mine, "Escape", "ArrowDown", "ArrowDown", "ArrowDown", "e")
    expect(mine.get_by_role("dialog")).to_contain_text("Make token 3 an emergency?")
    _press(mine, "Tab", "Enter")
    expect(said).to_have_text("3: a seat with Dr Asha Rao")
    expect(theirs.locator("tbody tr").nth(0)).to_contain_text("Waiting 1")

    # It is kept where nobody says yes.
    _press(mine, "x")
    expect(mine.get_by_role("dialog")).to_contain_text("Cancel token 3?")
    _press(mine, "Escape")
    expect(mine.get_by_role("dialog")).to_have_count(0)
    _press(mine, "x")
    expect(mine.get_by_role("dialog")).to_contain_text("Cancel token 3?")
    _press(mine, "Tab", "Enter")
    expect(said).to_have_text("3: cancelled")
    expect(theirs.locator("tbody tr").nth(0)).to_contain_text("Booked")


def test_who_is_asked_again_at_once_may_still_say_yes(board: RunningBoard, look: Look) -> None:
    """A page is told later that its dialog closed: what was asked anew before that counted as refused."""
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1])
    hospital.book("cardiology")
    desk = look(board.page("desk", hospital, role="reception"))
    desk.locator("tbody tr").first.focus()
    desk.keyboard.press("x")
    expect(desk.get_by_role("dialog")).to_contain_text("Cancel token 1?")
    desk.evaluate("""() => {
      document.querySelector("dialog.sure").close();
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "x", bubbles: true }));
    }""")
    expect(desk.get_by_role("dialog")).to_contain_text("Cancel token 1?")
    desk.keyboard.press("Tab")
    desk.keyboard.press("Enter")
    expect(desk.locator(".outcomes li").first).to_have_text("1: cancelled")


def test_seats_are_raised_and_a_slot_is_closed(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1], capacity=1)
    for _ in range(3):
        hospital.book("cardiology")
    desk = look(board.page("desk", hospital, role="reception"))
    said = desk.locator(".outcomes li").first
    seats = desk.get_by_label("Seats of Dr Asha Rao")
    seats.fill("2")
    seats.press("Enter")
    expect(said).to_have_text("Dr Asha Rao: 2 seats")
    expect(desk.locator("tbody tr").nth(1)).to_contain_text("Booked")
    desk.get_by_role("button", name="Close this time").click()
    expect(desk.get_by_role("dialog")).to_contain_text(f"Close {SLOTS[0]}? Nobody gets a seat any more, and 1 who wait")
    desk.get_by_role("dialog").get_by_role("button", name="Close this time").click()
    expect(said).to_have_text(f"{SLOTS[0]} is closed")
    expect(desk.locator(".pools button").first).to_contain_text("Closed")
    expect(desk.locator(".pools [aria-pressed=true]")).to_contain_text(SLOTS[1])


def test_a_patient_is_found_and_given_a_link(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1], capacity=40)
    tokens = [hospital.book("cardiology") for _ in range(12)]
    desk = look(board.page("desk", hospital, role="reception"))
    expect(desk.locator("tbody tr")).to_have_count(12)
    desk.keyboard.press("f")
    desk.keyboard.type(tokens[7]["patient_id"])
    expect(desk.locator("tbody tr")).to_have_count(1)
    desk.get_by_role("button", name="Link").click()
    expect(desk.get_by_role("dialog").get_by_role("link")).to_have_attribute("href", board.link(tokens[7]["token_id"]))


def test_a_doctor_calls_completes_skips_and_leaves(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    doctor, _ = hospital.register("cardiology", NAMES[:2], capacity=4)
    for _ in range(4):
        hospital.act(hospital.book("cardiology", doctor_id=doctor), "check-in")
    room = look(board.page("room", hospital, role="doctor", doctor_id=doctor))
    called, said = room.locator(".calling .big"), room.locator(".outcome")
    expect(room.locator(".queue li")).to_have_text(["1", "2", "3", "4"])
    room.keyboard.press("n")
    expect(said).to_have_text("1: called")  # until then it takes no other key
    expect(called).to_have_text("1")
    room.keyboard.press("d")
    expect(said).to_have_text("1: done")
    expect(room.locator(".nobody")).to_be_visible()
    room.get_by_role("button", name="Call next").click()
    expect(said).to_have_text("2: called")
    expect(called).to_have_text("2")
    room.keyboard.press("s")
    expect(said).to_have_text("2: did not come")
    expect(room.locator(".queue li")).to_have_text(["3", "4"])
    room.get_by_role("button", name="Away for this time").click()
    room.get_by_role("dialog").get_by_role("button", name="Away for this time").click()
    expect(said).to_have_text("You are away.")
    expect(room.locator(".slots [aria-pressed=true]")).to_contain_text("Away")
    room.get_by_role("button", name="Back for this time").click()
    expect(said).to_have_text("You are back.")
    room.get_by_role("button", name="Away for the day").click()
    room.keyboard.press("Tab")
    room.keyboard.press("Enter")
    expect(room.get_by_role("button", name="Back for the day")).to_be_visible()
    expect(room.locator(".slots button", has_text="Away")).to_have_count(3)


def test_who_is_not_signed_in_is_shown_the_door_and_nothing_else(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1])
    for name in ("desk", "room", "kiosk", "operations", ""):
        page = look(board.page(name, hospital))
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert board.http.get("/api/tokens?facility_id=blr1").status_code == 401, "not in the board's own name"
    signed_in = look(board.page("desk", hospital, role="reception"))
    expect(signed_in.get_by_role("heading", name="Desk")).to_be_visible()
    assert "token" not in signed_in.url
    signed_in.reload()
    expect(signed_in.get_by_role("heading", name="Desk")).to_be_visible()
    signed_in.get_by_role("button", name="Sign out").click()
    expect(signed_in.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_page_asks_nothing_any_more_once_nobody_is_signed_in(board: RunningBoard, look: Look) -> None:
    """It hears of changes until it has gone; what it asked for them was refused, in red, at the console."""
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1])
    desk = look(board.page("desk", hospital, role="reception"))
    expect(desk.get_by_role("heading", name="Desk")).to_be_visible()
    desk.evaluate("sessionStorage.clear()")
    asked: list[str] = []
    desk.on("request", lambda request: asked.append(request.url))
    hospital.book("cardiology")
    expect(desk.get_by_text("You are not signed in, or no longer.")).to_be_visible()
    assert not [url for url in asked if "/api/" in url]


def test_the_start_page_leads_to_the_others(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    for department in ("cardiology", "dermatology"):
        hospital.register(department, NAMES[:1])
    start = look(board.page("", hospital, role="admin"))
    links = start.get_by_role("link")
    expect(links).to_have_count(2 + 2 * 4)
    expect(start.get_by_role("link", name="Hall, all departments")).to_have_attribute(
        "href", re.compile("department=cardiology&department=dermatology")
    )
    start.get_by_role("link", name="Desk").first.click()
    expect(start.get_by_role("heading", name="Desk")).to_be_visible()


def test_operations_tell_who_works_on_what(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1])
    page = look(board.page("operations", hospital, role="admin"))
    partitions = page.locator("tbody tr")
    expect(partitions).to_have_count(2)
    expect(page.locator("section", has_text="Allocators").locator("li")).to_have_text(re.compile(": 0, 1$"))
    commands = page.locator("tbody td:nth-child(2)")
    before = sum(map(int, commands.all_text_contents()))
    hospital.book("cardiology")
    until(lambda: sum(map(int, commands.all_text_contents())) == before + 1, "the new command is counted")

    # What nobody can read is counted where it stands, and told in red.
    unreadable = page.locator("tbody td:nth-child(5)")
    expect(page.locator("tbody .bad")).to_have_count(0)
    with ThreadPoolExecutor(1) as thread:  # this thread's event loop is the browser's
        thread.submit(asyncio.run, _say_nonsense(board)).result()
    expect(page.locator("tbody .bad")).to_have_text("1")
    assert sorted(unreadable.all_text_contents()) == ["0", "1"]

    # What nobody decides yet, likewise.
    allocator, undecided = board.gateway.allocator.process, page.locator("tbody td:nth-child(3)")
    expect(undecided).to_have_text(["0", "0"])
    allocator.stop()
    try:
        expect(page.get_by_text("No allocator is at work.")).to_be_visible()
        asked = {"facility_id": hospital.facility_id, "department_id": "cardiology", "date": hospital.day}
        later = board.gateway_http.post(
            "/tokens",
            json={**asked, "slot": SLOTS[0], "patient_id": "p-later", "source": "ONLINE"},
            headers={"Prefer": "respond-async, wait=0"},
        )
        assert later.status_code == 202, later.text
        until(lambda: sorted(undecided.all_text_contents()) == ["0", "1"], "it waits to be decided")
    finally:
        board.gateway.allocator.start()
        board.gateway.allocator.wait()
    expect(undecided).to_have_text(["0", "0"])

    refused = look(board.page("operations", hospital, role="reception"), expecting="status of 403")
    expect(refused.get_by_role("alert")).to_have_text("You may not do this.")


async def _say_nonsense(board: RunningBoard) -> None:
    settings = board.gateway.settings
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
        await producer.send_and_wait(settings.commands_topic, b"nonsense", key=b"h/d")
