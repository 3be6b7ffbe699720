"""Every page with something on it: what is looked at, by machine and by eye."""

from typing import NamedTuple

from playwright.sync_api import Page

from tests.screens.board import Addresses
from tests.screens.hospital import NAMES, SLOTS, Hospital


class Sight(NamedTuple):
    """One page as somebody sees it.

    Attributes:
        name: what it shows.
        url: where.
        shown: a selector of what is there when all is.
    """

    name: str
    url: str
    shown: str


def busy(board: Addresses, hospital: Hospital) -> list[Sight]:
    """Bring a hospital to ten o'clock, and give every page of it."""
    cardiology = hospital.morning("cardiology")
    hospital.morning("dermatology", NAMES[:3])
    waiting = next(each for each in cardiology if each["status"] == "WAITLISTED")
    here = board.link(cardiology[0]["token_id"])
    board.estimate(here)  # a phone that was told none asks again after a minute
    return [
        Sight("hall", board.page("hall", hospital) + "&department=dermatology&languages=en", "li .now b"),
        Sight("desk", board.page("desk", hospital, role="reception"), "tbody tr"),
        Sight("room", board.page("room", hospital, role="doctor", doctor_id="dr-1"), ".queue li"),
        Sight("kiosk", board.page("kiosk", hospital, role="kiosk"), ".large button"),
        Sight("follow", f"{here}?lang=en", ".estimate"),
        Sight("follow-waiting", f"{board.link(waiting['token_id'])}?lang=en", ".story li"),
        Sight("operations", board.page("operations", hospital, role="admin"), "tbody tr"),
        Sight("start", board.page("", hospital, role="admin"), ".choices li"),
    ]


def in_language(url: str, language: str) -> str:
    """Give the address of a page, made for English, in another language."""
    name = "languages" if "languages=" in url else "lang"
    assert f"{name}=en" in url
    return url.replace(f"{name}=en", f"{name}={language}")


def kiosk_ticket(page: Page) -> None:
    """Take a token at a kiosk that is shown."""
    page.locator(".large button").first.click()
    page.locator(".large button", has_text=SLOTS[2]).click()
    page.locator("form button.first").click()
    page.locator(".ticket img").evaluate("image => image.decode()")  # until it is there


def kiosk_number(page: Page) -> None:
    """Go to where a kiosk wants a number."""
    page.locator(".large button").nth(1).click()
    page.locator(".keypad").wait_for()


def many(hospital: Hospital) -> None:
    """Give a department all the doctors that it can have, some of them at work."""
    doctors = hospital.register("cardiology", [f"Dr {NAMES[number % 3][3:]} {number}" for number in range(1, 201)])
    for doctor_id in doctors[:9]:
        for _ in range(2):
            hospital.act(hospital.book("cardiology", doctor_id=doctor_id), "check-in")
        hospital.call("cardiology", doctor_id)
