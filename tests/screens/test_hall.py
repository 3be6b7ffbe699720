"""The hall's display, in a real browser on the real system."""

import re

from playwright.sync_api import expect

from tests.screens.board import RunningBoard
from tests.screens.conftest import Look
from tests.screens.hospital import NAMES, SLOTS
from tests.waiting import until

NOBODY = "\N{EN DASH}"
ROWS = """() => [...document.querySelectorAll("li")].map(row => {
    const box = row.getBoundingClientRect();
    return [row.querySelector("h2").textContent, box.bottom <= innerHeight && box.right <= innerWidth];
})"""


def test_a_call_is_shown_at_once_without_anything_of_the_patient(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    [doctor] = hospital.register("cardiology", NAMES[:1])
    hall = look(board.page("hall", hospital))
    row = hall.locator("li", has_text=NAMES[0])
    expect(row.locator(".now b")).to_have_text(NOBODY)
    tokens = [hospital.book("cardiology") for _ in range(3)]
    for token in tokens:
        hospital.act(token, "check-in")
    expect(row.locator(".next b")).to_have_text("1 · 2 · 3")
    hospital.call("cardiology", doctor)
    expect(row.locator(".now b")).to_have_text("1")
    expect(row.locator(".next b")).to_have_text("2 · 3")
    expect(row).to_have_class("called")
    assert not re.search("p-[0-9]+", hall.content())


def test_it_speaks_three_languages_in_turn_and_turns_its_direction(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES)
    hall = look(board.page("hall", hospital, turn_s="1"))
    for language, direction in (("en", "ltr"), ("hi", "ltr"), ("ur", "rtl"), ("en", "ltr")):
        expect(hall.locator("html")).to_have_attribute("lang", language)
        expect(hall.locator("html")).to_have_attribute("dir", direction)


def test_two_hundred_doctors_are_shown_in_turn_and_none_is_cut_off(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    names = [f"Dr {number} Venkatasubramanian-Krishnamurthy" for number in range(1, 201)]
    hospital.register("cardiology", names)
    hall = look(board.page("hall", hospital, turn_s="1"), viewport={"width": 1920, "height": 1080})
    expect(hall.locator(".page")).to_have_text(re.compile("[0-9]+/20"))
    seen: set[str] = set()

    def all_seen() -> bool:
        shown = hall.evaluate(ROWS)
        assert all(is_inside for _, is_inside in shown)
        seen.update(name for name, _ in shown)
        return seen == set(names)

    until(all_seen, "every doctor was shown", timeout_s=90)


def test_an_empty_day_says_so(board: RunningBoard, look: Look) -> None:
    hall = look(board.page("hall", board.hospital()))
    expect(hall.locator(".empty")).to_have_text("No consultations today.")


def test_departments_share_a_screen_and_a_late_one_comes_by_itself(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1])
    hall = look(board.page("hall", hospital) + "&department=dermatology")
    expect(hall.locator("li")).to_have_count(1)
    hospital.register("dermatology", NAMES[1:2])
    expect(hall.locator("li")).to_have_count(2)
    expect(hall.locator("li").nth(1)).to_contain_text("Dermatology")


def test_a_doctor_who_is_away_and_a_slot_that_is_closed_are_told(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    [doctor] = hospital.register("cardiology", NAMES[:1])
    hall = look(board.page("hall", hospital))
    for slot in SLOTS:
        hospital.leave("cardiology", doctor, slot)
    expect(hall.locator(".away")).to_have_text("Away")
    for slot in SLOTS:
        hospital.close("cardiology", slot)
    expect(hall.locator(".empty")).to_have_text("No consultations today.")


def test_a_screen_says_that_it_is_stale_and_recovers_by_itself(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    [doctor] = hospital.register("cardiology", NAMES[:1])
    for _ in range(2):
        hospital.act(hospital.book("cardiology"), "check-in")
    hospital.call("cardiology", doctor)
    hall = look(board.page("hall", hospital), expecting="net::ERR_")
    now, stale = hall.locator("li .now b"), hall.locator(".stale")
    expect(now).to_have_text("1")
    expect(stale).to_have_count(0)
    board.service.process.kill()
    expect(stale).to_contain_text("Not up to date: last heard at")
    expect(now).to_have_text("1")
    hospital.call("cardiology", doctor)
    board.service.start()
    expect(now).to_have_text("2", timeout=60_000)
    expect(stale).to_have_count(0)


def test_a_screen_is_told_when_the_gateway_is_away(board: RunningBoard, look: Look) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1])
    hall = look(board.page("hall", hospital))
    expect(hall.locator("li")).to_have_count(1)
    board.gateway.process.kill()
    try:
        expect(hall.locator(".stale")).to_have_count(1)
    finally:
        board.gateway.start()
        board.gateway.wait()
    expect(hall.locator(".stale")).to_have_count(0)
    hospital.act(hospital.book("cardiology"), "check-in")
    expect(hall.locator("li .next b")).to_have_text("1")


VOICES = """() => {
    window.said = [];
    window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
    speechSynthesis.getVoices = () => [{ lang: "en-IN" }, { lang: "ur-PK" }];
    speechSynthesis.speak = each => said.push([each.lang, each.text]);
}"""


def test_a_call_is_spoken_in_each_language_that_the_machine_can_once_sound_is_on(
    board: RunningBoard, look: Look
) -> None:
    hospital = board.hospital()
    [doctor] = hospital.register("cardiology", NAMES[:1])
    for _ in range(2):
        hospital.act(hospital.book("cardiology"), "check-in")
    hall = look(board.page("hall", hospital, languages="en,hi,ur", turn_s="3600"))
    hall.evaluate(VOICES)
    now = hall.locator("li .now b")
    hospital.call("cardiology", doctor)
    expect(now).to_have_text("1")
    assert hall.evaluate("said") == [], "it is off until somebody wants it"
    hall.get_by_role("button", name="Sound off").click()
    expect(hall.get_by_role("button", name="Sound on")).to_have_attribute("aria-pressed", "true")
    hospital.call("cardiology", doctor)
    expect(now).to_have_text("2")
    (english, first), (urdu, second) = hall.evaluate("said")
    assert (english, first) == ("en-IN", "Token number 2. Dr Asha Rao.")
    assert urdu == "ur-PK"
    assert second.startswith("ٹوکن نمبر")
