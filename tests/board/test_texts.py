"""Words: whole in every language, and none that is asked for is missing."""

import json
import re
from pathlib import Path

import pytest

from schemas.words import RejectionReason, Source, Status
from services.board.app import HERE

TEXTS = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in (HERE / "texts").glob("*.json")}
SCRIPTS = list((HERE / "static").glob("*.js"))
PLACE = re.compile(r"\{\w+\}")
MADE_UP = {  # in the pages, of a word and what stands in an event or a state
    *(f"reason.{reason}" for reason in RejectionReason),
    *(f"class.{source}" for source in Source),
    *(f"status.{status}" for status in Status),
    *(f"follow.{status}" for status in Status),
    *(f"follow.{status}.hint" for status in Status),
    *(f"desk.said.{status}" for status in Status if status != "EXPIRED"),  # that no button does
    *(f"http.{status}" for status in (401, 403, 422, 503)),
    *(f"story.TokenPreempted.{reason}" for reason in ("EMERGENCY", "DOCTOR_UNAVAILABLE")),
    *(f"story.TokenReassigned.{reason}" for reason in ("EMERGENCY", "DOCTOR_UNAVAILABLE")),
    *(f"story.TokenPromoted.{reason}" for reason in ("CANCELLATION", "NO_SHOW", "CAPACITY_RAISED", "DOCTOR_AVAILABLE")),
    *(f"story.TokenPromoted.{reason}" for reason in ("DOCTOR_REGISTERED", "UPGRADED")),
    *(f"story.Token{done}" for done in ("Confirmed", "Waitlisted", "Upgraded", "Cancelled", "NoShow", "CheckedIn")),
    *(f"story.Token{done}" for done in ("Called", "Completed", "Expired")),
    *(f"ops.{column}" for column in ("partition", "commands", "lag", "events", "dead-letters")),
    "start.hall",
    "start.kiosk",
}


def test_there_are_three_languages_and_one_goes_from_right_to_left() -> None:
    assert TEXTS.keys() == {"en", "hi", "ur"}
    page = (HERE / "static" / "board.js").read_text(encoding="utf-8")
    assert 'LANGUAGES = ["en", "hi", "ur"]' in page
    assert 'RIGHT_TO_LEFT = new Set(["ur"])' in page


@pytest.mark.parametrize("language", TEXTS)
def test_a_language_says_all_that_the_others_say_with_the_same_places(language: str) -> None:
    assert TEXTS[language].keys() == TEXTS["en"].keys()
    for key, text in TEXTS[language].items():
        assert text.strip(), key
        assert set(PLACE.findall(text)) == set(PLACE.findall(TEXTS["en"][key])), key


@pytest.mark.parametrize("language", ["hi", "ur"])
def test_nothing_was_left_in_english(language: str) -> None:
    same = {key for key, text in TEXTS[language].items() if text == TEXTS["en"][key]}
    assert same <= {"follow.slot"}


def test_every_word_that_a_page_asks_for_is_there_and_none_is_idle() -> None:
    asked = {key for file in SCRIPTS for key in _literals(file)}
    known = set(TEXTS["en"])
    assert known >= MADE_UP
    assert known - MADE_UP <= asked, "idle"
    called = {key for file in SCRIPTS for key in re.findall(r"\bt\(\s*\"([^\"]+)\"", file.read_text(encoding="utf-8"))}
    assert called <= known, "missing"


def _literals(file: Path) -> set[str]:
    return set(re.findall(r"\"([a-z][\w.-]*)\"", file.read_text(encoding="utf-8")))
