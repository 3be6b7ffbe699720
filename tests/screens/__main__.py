"""Pictures of every page, for the documentation and for whoever changes one: `make screens`."""

import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from services.settings import Settings
from services.stack.progress import Progress
from services.stack.stack import Stack
from services.stack.system import System, all_services
from tests.console import ROOT
from tests.screens import chromium, pages
from tests.screens.board import Addresses
from tests.screens.hospital import Hospital, where_it_is_ten

FOLDER = ROOT / "docs" / "screens"
TV = {"width": 1920, "height": 1080}
DESKTOP = {"width": 1440, "height": 900}
KIOSK = {"width": 900, "height": 1200}
PHONE = {"width": 390, "height": 844}
COLOURS = 128  # of a picture: pages have few
ROOMS = """
["city-hospital/cardiology"]
dr-1 = "12"
dr-2 = "14"
dr-3 = "Annexe, 3"
"""
HEAD = """# Screens

Made by `make screens` from a hospital's morning; nothing here is drawn by hand.
"""


class Shot(NamedTuple):
    """One picture.

    Attributes:
        name: of its file.
        url: what is looked at.
        shown: a selector of what is there when all is.
        size: of the window.
        scheme: light or dark.
        act: what is done before.
        says: what it shows.
        language: in which all of it must be.
    """

    name: str
    url: str
    shown: str
    size: dict[str, int]
    says: str
    scheme: str = "light"
    act: Callable[[Page], None] = lambda _page: None
    language: str = "en"


def shots(board: Addresses, busy: Hospital, full: Hospital, empty: Hospital) -> list[Shot]:
    """Give what is to be looked at."""
    at = {sight.name: sight for sight in pages.busy(board, busy)}
    large = board.page("hall", full, languages="en")

    def shot(name: str, sight: str, size: dict[str, int], says: str, **more: Any) -> Shot:
        url = more.pop("url", pages.in_language(at[sight].url, more.get("language", "en")))
        return Shot(name, url, more.pop("shown", at[sight].shown), size, says, **more)

    return [
        shot("hall-light", "hall", TV, "The hall's screen"),
        shot("hall-dark", "hall", TV, "The hall's screen, dark", scheme="dark"),
        shot("hall-hindi", "hall", TV, "In Hindi", language="hi"),
        shot("hall-urdu", "hall", TV, "In Urdu", language="ur", scheme="dark"),
        shot("hall-200-doctors", "hall", TV, "200 doctors, in turn", url=large),
        shot("hall-empty", "hall", TV, "An empty day", url=board.page("hall", empty, languages="en"), shown=".empty"),
        shot("hall-phone", "hall", PHONE, "The hall on a phone"),
        shot("desk-light", "desk", DESKTOP, "The desk"),
        shot("desk-dark", "desk", DESKTOP, "The desk, dark", scheme="dark"),
        shot("desk-urdu", "desk", DESKTOP, "The desk in Urdu", language="ur"),
        shot("desk-phone", "desk", PHONE, "The desk on a phone"),
        shot("room-light", "room", DESKTOP, "A doctor's room"),
        shot("room-phone-dark", "room", PHONE, "A doctor's room on a phone, dark", scheme="dark"),
        shot("kiosk-light", "kiosk", KIOSK, "The kiosk"),
        shot("kiosk-hindi-dark", "kiosk", KIOSK, "In Hindi", language="hi", scheme="dark"),
        shot("kiosk-number", "kiosk", KIOSK, "Checking in by number", act=pages.kiosk_number),
        shot("kiosk-ticket", "kiosk", KIOSK, "A token, to be printed or scanned", act=pages.kiosk_ticket),
        shot("follow-light", "follow", PHONE, "A patient's phone"),
        shot("follow-waiting-dark", "follow-waiting", PHONE, "Preempted, and waiting", scheme="dark"),
        shot("follow-hindi", "follow", PHONE, "In Hindi", language="hi"),
        shot("follow-urdu", "follow-waiting", PHONE, "In Urdu", language="ur"),
        shot("follow-estimate-urdu", "follow", PHONE, "When, in Urdu", language="ur"),
        shot("operations-light", "operations", DESKTOP, "Operations"),
        shot("start-light", "start", DESKTOP, "What leads to all of them"),
    ]


def take(browser: Browser, shot: Shot, zone: str) -> bytes:
    """Give a picture as a small PNG; one that is not up to date, or in another language, is none."""
    context = browser.new_context(viewport=shot.size, color_scheme=shot.scheme, timezone_id=zone)  # type: ignore[arg-type]
    try:
        page = context.new_page()
        page.goto(shot.url)
        page.locator(shot.shown).first.wait_for()
        shot.act(page)
        page.wait_for_load_state("networkidle") if shot.name.startswith("desk") else None
        expect(page.locator("html")).to_have_attribute("lang", shot.language)
        expect(page.locator(".stale")).to_have_count(0)
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    finally:
        context.close()
    small = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


@contextmanager
def _system() -> Iterator[Addresses]:
    with tempfile.TemporaryDirectory(prefix="opd-screens-") as folder:
        rooms = Path(folder) / "rooms.toml"
        rooms.write_text(ROOMS)
        settings = Settings(time_zone=where_it_is_ten(), board_rooms=rooms)
        stack = Stack(Path(folder), with_postgres=True)
        with System(stack, settings, all_services(), progress=Progress()) as system:
            yield Addresses(system.http["board"], system.http["gateway"], settings.time_zone)


def main() -> int:
    """Take all pictures; give the exit code."""
    if chromium.find() is None:
        sys.stderr.write(f"{chromium.MISSING}\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    with _system() as board, sync_playwright() as driver:
        busy, full, empty = map(board.hospital, ("city-hospital", "large", "quiet"))
        pages.many(full)
        browser = driver.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        lines = [HEAD]
        for shot in shots(board, busy, full, empty):
            (FOLDER / f"{shot.name}.png").write_bytes(take(browser, shot, board.zone))
            sys.stderr.write(f"{shot.name}\n")
            lines.append(f"## {shot.says}\n\n![{shot.says}]({shot.name}.png)\n")
        browser.close()
    (FOLDER / "README.md").write_text("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
