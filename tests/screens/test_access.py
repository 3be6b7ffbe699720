"""What every page owes to everybody: no barrier, no leak, no trust in strangers."""

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.screens import pages
from tests.screens.board import RunningBoard
from tests.screens.conftest import Look
from tests.screens.hospital import NAMES

SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def sights(board: RunningBoard) -> list[pages.Sight]:
    return pages.busy(board, board.hospital())


def _faults(page: object) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found if each["impact"] in SERIOUS]


def test_axe_finds_no_serious_fault_on_any_page_light_or_dark(sights: list[pages.Sight], look: Look) -> None:
    for sight in sights:
        page = look(sight.url, color_scheme="light")
        page.locator(sight.shown).first.wait_for()
        assert _faults(page) == [], sight.name
        page.emulate_media(color_scheme="dark")
        assert _faults(page) == [], f"{sight.name}, dark"
        if sight.name == "kiosk":
            pages.kiosk_ticket(page)
            assert _faults(page) == []


def test_no_page_is_wider_than_a_phone_in_any_language(sights: list[pages.Sight], look: Look) -> None:
    for sight in sights:
        url = pages.in_language(sight.url, "ur") if sight.name == "hall" else sight.url
        page = look(url, viewport={"width": 360, "height": 740})
        page.locator(sight.shown).first.wait_for()
        for language in ("en", "hi", "ur") if sight.name != "hall" else ("ur",):
            if sight.name != "hall":
                page.locator(".language select").select_option(language)
            expect(page.locator("html")).to_have_attribute("lang", language)
            too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert too_wide <= 0, (sight.name, language)
            expect(page.locator(".stale"), sight.name).to_have_count(0)


def test_every_answer_forbids_what_is_inline_or_from_elsewhere(board: RunningBoard) -> None:
    paths = ["/", "/hall", "/desk", "/static/board.js", "/texts/hi.json", "/api/tokens", "/follow/a/b", "/nowhere"]
    for answer in [board.http.get(path) for path in paths]:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_no_patient_and_no_link_stands_in_its_log_or_metrics(board: RunningBoard) -> None:
    hospital = board.hospital()
    hospital.register("cardiology", NAMES[:1])
    token = hospital.book("cardiology")
    link = httpx.URL(board.link(token["token_id"]))
    assert board.http.get(link.path).status_code == 200
    story = board.http.get(f"{link.path}/story")
    assert story.json()["token_no"] == token["token_no"]
    for text in (story.text, board.http.get("/metrics").text, board.service.process.log.read_text()):
        assert token["patient_id"] not in text
        assert link.path not in text


def test_what_is_asked_for_wrongly_is_refused(board: RunningBoard) -> None:
    live = "/live/blr1?date=2026-11-23"
    many = "".join(f"&department=d{number}" for number in range(21))
    for path in (live, f"{live}&department=A", f"{live}{many}", "/live/blr1?date=2026-11-31&department=a"):
        assert board.http.get(path).status_code == 422, path
    signed = {"Authorization": "Bearer nonsense"}
    assert board.http.get("/api/metrics", headers=signed).status_code == 404, "not the gateway's own business"
    assert board.http.get("/api/events?facility_id=a&department_id=b", headers=signed).status_code == 404
    assert board.http.post("/api/tokens", content=b"x" * 20_000, headers=signed).status_code == 413
    assert board.http.post("/api/tokens", json={}, headers=signed).status_code == 401
    assert board.http.get("/links/blr1.cardiology.20261123.1").status_code == 404
    assert board.http.get("/static/../app.py").status_code == 404
