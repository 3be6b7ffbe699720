"""The pictures of the documentation are what they are said to be, as far as that can be seen without looking."""

import re
from collections import Counter

from tests.screens.__main__ import FOLDER


def test_each_is_named_and_none_is_another_one_again() -> None:
    named = re.findall(r"!\[.+\]\((.+\.png)\)", (FOLDER / "README.md").read_text())
    pictures = {each.name: each.read_bytes() for each in FOLDER.glob("*.png")}
    assert sorted(named) == sorted(pictures)
    most = max(Counter(pictures.values()).values())
    assert most == 1, "two pictures are the same"
