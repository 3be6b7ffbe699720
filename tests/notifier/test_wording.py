"""Every language has every kind's words, and they name what a patient needs to know."""

from string import Formatter

import pytest

from services.notifier.notices import Kind
from services.notifier.wording import LANGUAGES, render, wording_of
from tests.board.test_texts import TEXTS

ABOUT = {
    "token_no": 17,
    "department": "cardiology",
    "doctor": "Dr Rao",
    "date": "2026-11-23",
    "slot": "09:00-10:00",
    "position": 3,
    "before": 2,
}
NEEDED = {
    Kind.WAITLISTED: {"position"},
    Kind.PREEMPTED: {"position"},
    Kind.SOON: {"before"},
    Kind.REASSIGNED: {"doctor"},
}


def _named(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_whoever_reads_a_page_in_their_language_is_written_to_in_it() -> None:
    assert {"ar", "en", "hi", "ur"} <= set(LANGUAGES)
    assert TEXTS.keys() <= set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_says_all_that_english_says(language: str) -> None:
    words, english = wording_of(language), wording_of("en")

    assert words.keys() == set(Kind)
    for kind in Kind:
        assert words[kind].keys() == {"title", "text"}
        for part in ("title", "text"):
            assert _named(words[kind][part]) == _named(english[kind][part]), (kind, part)
        assert {"token_no", *NEEDED.get(kind, set())} <= _named(words[kind]["text"])
        title, text = render(kind, language, ABOUT)
        assert "17" in title
        assert "{" not in title + text


@pytest.mark.parametrize(
    ("language", "script"),
    [("hi", range(0x0900, 0x0980)), ("ar", range(0x0600, 0x0700)), ("ur", range(0x0600, 0x0700))],
)
def test_a_language_is_written_in_its_own_script(language: str, script: range) -> None:
    for kind in Kind:
        for text in render(kind, language, {**ABOUT, "department": "", "doctor": "", "slot": "", "date": ""}):
            letters = [letter for letter in text if letter.isalpha()]
            assert letters
            assert all(ord(letter) in script for letter in letters), text


@pytest.mark.parametrize(
    ("language", "like"), [("en-IN", "en"), ("hi-Latn", "hi"), ("pt-BR", "en"), ("ur-PK", "ur"), ("xx", "en")]
)
def test_a_language_without_words_of_its_own_is_told_in_english(language: str, like: str) -> None:
    assert render(Kind.SOON, language, ABOUT) == render(Kind.SOON, like, ABOUT)
