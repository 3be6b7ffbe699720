"""What a fault is. Each is done under load, proves that it landed, and leaves whole servers behind."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from tests.campaign.system import Broken, System


class CannotBePlayed(Exception):  # noqa: N818  nothing went wrong
    """What a fault needs is not here; the text says what."""


class Landed(NamedTuple):
    """That a fault hit.

    Attributes:
        at: when, in seconds of the monotonic clock.
        healed_at: from when on nothing but the engine itself was in its way.
        proof: what shows it.
    """

    at: float
    healed_at: float
    proof: str


@dataclass(frozen=True)
class Fault:
    """A fault, and how soon all partitions must be deciding again.

    Attributes:
        name: as it stands in the table.
        play: does it.
        goal_s: the promised time; None where there is none.
        handed_over: what is timed is the longest silence of a partition, not the time from healing on.
        in_short: whether the short campaign plays it too.
    """

    name: str
    play: Callable[[System, Random], Landed]
    goal_s: float | None = None
    handed_over: bool = False
    in_short: bool = True


def went_back(before: list[int], after: list[int]) -> str:
    """Say how far Redis went back; it must have."""
    lost = [max(0, old - new) for old, new in zip(before, after, strict=True)]
    if not any(lost):
        raise Broken(f"Redis had applied {before}, and {after} after: nothing was lost")
    return f"applied went back by {lost}"
