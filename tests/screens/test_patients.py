"""What patients look at: the follow page on their phones, and the kiosk."""

import re
from datetime import datetime
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from playwright.sync_api import expect

from tests.screens.board import RunningBoard
from tests.screens.conftest import Look
from tests.screens.hospital import NAMES, SLOTS

PHONE = {"width": 390, "height": 844}


def test_a_patient_sees_where_the_token_stands_what_changed_and_why(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    [doctor] = hospital.register("cardiology", NAMES[:1], capacity=2)
    first, mine = hospital.book("cardiology", source="PAID"), hospital.book("cardiology")
    phone = look(f"{board.link(mine['token_id'])}?lang=en", viewport=PHONE)
    headline, story = phone.locator(".ticket h2"), phone.locator(".story li p")
    expect(phone.locator(".ticket .big")).to_have_text("2")
    expect(headline).to_have_text("You have a seat with Dr Asha Rao.")
    hospital.book("cardiology", source="EMERGENCY")
    expect(headline).to_have_text("You are number 1 on the waiting list.")
    expect(story.last).to_have_text("You got a seat with Dr Asha Rao.")
    expect(story.first).to_have_text(re.compile("^An emergency needed your seat. You keep your place in the order"))
    hospital.act(first, "cancel")
    expect(headline).to_have_text("You have a seat with Dr Asha Rao.")
    expect(story.first).to_have_text("Somebody cancelled: you got a seat with Dr Asha Rao.")
    hospital.act(mine, "check-in")
    expect(headline).to_have_text("You are next.")
    hospital.call("cardiology", doctor)
    expect(headline).to_have_text("It is your turn.")
    expect(phone.locator(".ticket p", has_text="Please go to Dr Asha Rao.")).to_be_visible()
    expect(story).to_have_count(5)
    assert not re.search("p-[0-9]{5}", phone.content())


def test_a_link_that_was_guessed_leads_nowhere(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1])
    mine, others = hospital.book("cardiology"), hospital.book("cardiology")
    path = urlsplit(board.link(mine["token_id"])).path.replace(mine["token_id"], others["token_id"])
    for guess in (path, f"/live{path}", f"{path}/story", f"{path}/qr.svg"):
        assert board.http.get(guess).status_code == 404
    phone = look(f"{board.url}{path}?lang=en", viewport=PHONE, expecting="status of 404")
    expect(phone.locator(".empty")).to_have_text("This link is not valid. Please ask at the desk.")


def test_a_kiosk_gives_a_token_with_its_link_and_takes_it_when_the_patient_is_there(
    board: RunningBoard, look: Look
) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1], capacity=1)
    kiosk = look(
        board.page("kiosk", hospital, role="kiosk"), viewport={"width": 800, "height": 1200}, expecting="status of 404"
    )
    kiosk.get_by_role("button", name="Take a token").click()
    kiosk.get_by_role("button", name=re.compile(SLOTS[0])).click()
    kiosk.get_by_role("button", name="Get my token").click()
    expect(kiosk.locator(".big")).to_have_text("1")
    expect(kiosk.locator(".ticket")).to_contain_text("You have a seat with Dr Asha Rao.")
    image = kiosk.get_by_role("img", name="Scan this to follow your place on your phone.")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth > 100)")
    assert urlsplit(str(image.get_attribute("src"))).path.endswith("/qr.svg")
    kiosk.emulate_media(media="print")
    expect(kiosk.get_by_role("button", name="Print")).to_be_hidden()
    expect(image).to_be_visible()
    kiosk.emulate_media(media="screen")
    kiosk.get_by_role("button", name="Done").click()
    kiosk.get_by_role("button", name="I have a token").click()
    kiosk.get_by_role("button", name="1", exact=True).click()
    kiosk.get_by_role("button", name="I am here").click()
    expect(kiosk.locator(".ticket")).to_contain_text("Please sit down. Your number will be called.")
    kiosk.get_by_role("button", name="Done").click()
    kiosk.get_by_role("button", name="I have a token").click()
    kiosk.keyboard.type("77")
    kiosk.get_by_role("button", name="I am here").click()
    expect(kiosk.get_by_role("alert")).to_have_text("There is no such token. Please ask at the desk.")


def test_patients_are_told_when_on_the_phone_and_at_the_kiosk(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    [doctor] = hospital.register("cardiology", NAMES[:1], capacity=12)
    mine = hospital.book("cardiology", source="WALK_IN")
    for token in [mine, *(hospital.book("cardiology", source="PAID") for _ in range(7))]:
        hospital.act(token, "check-in")
    for _ in range(6):  # so many that it is known how long one takes
        hospital.call("cardiology", doctor)
    link = board.link(mine["token_id"])
    said = board.estimate(link)
    phone = look(f"{link}?lang=en", viewport=PHONE)
    local = [f"{datetime.fromisoformat(said[name]).astimezone(ZoneInfo(board.zone)):%I:%M}" for name in ("p50", "p80")]
    assert {each[:2] for each in local} <= {"10", "11", "12"}, "where it is ten o'clock"
    moment = "1[0-2]:[0-5][0-9] [ap]m"  # one minute is said once
    told = re.compile(rf"You may be called at about {moment}(, most likely by {moment})?\.")
    expect(phone.locator(".estimate")).to_have_text(told)
    phone.locator(".language select").select_option("ur")
    expect(phone.locator(".estimate")).to_contain_text(re.compile("1[0-2]:[0-5][0-9] [AP]M"))
    kiosk = look(board.page("kiosk", hospital, role="kiosk"))
    kiosk.get_by_role("button", name="Take a token").click()
    kiosk.get_by_role("button", name=SLOTS[0]).click()
    kiosk.get_by_role("button", name="Get my token").click()
    expect(kiosk.locator(".ticket")).to_contain_text(told)
    for _ in range(2):
        hospital.call("cardiology", doctor)
    expect(phone.locator(".ticket.CALLED")).to_be_visible()
    expect(phone.locator(".estimate")).to_have_count(0)


def test_a_full_kiosk_says_how_many_wait(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1], capacity=1)
    for _ in range(3):
        hospital.book("cardiology")
    kiosk = look(board.page("kiosk", hospital, role="kiosk"))
    kiosk.get_by_role("button", name="Take a token").click()
    expect(kiosk.get_by_role("button", name=re.compile(SLOTS[0]))).to_contain_text("Full: 2 waiting")
    kiosk.get_by_role("button", name=re.compile(SLOTS[0])).click()
    kiosk.get_by_label("Your hospital number, if you have one").fill("H-4711")
    kiosk.get_by_role("button", name="Get my token").click()
    expect(kiosk.locator(".ticket")).to_contain_text("You are number 3 on the waiting list.")
