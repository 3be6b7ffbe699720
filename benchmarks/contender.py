"""What is known of somebody who decides the commands topic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


class Unavailable(Exception):  # noqa: N818  it is what it is
    """This machine lacks what a contender needs; the text says what."""


@dataclass(frozen=True)
class Contender:
    """Somebody who decides the commands topic.

    Attributes:
        name: for `--only`, and in results.
        title: for tables.
        keeps: what its answers are worth when something dies.
        command: what runs it; may build it first in the folder given, and raises Unavailable where that cannot be.
        store: whose processor time counts besides its own and Kafka's.
        share: the part of the commands that it gets: less for who would take minutes.
        is_ours: an allocator.
        moves: it decides nothing: commands go out as they came.
    """

    name: str
    title: str
    keeps: str
    command: Callable[[Path], Sequence[str | Path]]
    store: Literal["redis", "postgres"] | None = None
    share: float = 1.0
    is_ours: bool = False
    moves: bool = False
