"""The words of messages, by language: one file each in `wording/`, with a title and a text for every kind."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from services.notifier.notices import Kind

FOLDER: Final = Path(__file__).parent / "wording"
FALLBACK: Final = "en"
LANGUAGES: Final = tuple(sorted(file.stem for file in FOLDER.glob("*.toml")))


def render(kind: Kind, language: str, about: Mapping[str, Any]) -> tuple[str, str]:
    """Give title and text in a language as BCP 47 names it; in English where there is no wording of it."""
    plain = language.split("-", maxsplit=1)[0].lower()
    wording = wording_of(plain if plain in LANGUAGES else FALLBACK)[kind]
    return wording["title"].format_map(about), wording["text"].format_map(about)


@cache
def wording_of(language: str) -> dict[str, dict[str, str]]:
    """Give a language's words, by kind."""
    return tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
