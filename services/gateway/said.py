"""Events as the gateway needs them: where they stand in the log, and what they say."""

import re
from typing import Any, NamedTuple, Self

from pydantic_core import from_json

_SMALL, _LARGE = "(0|[1-9][0-9]{0,8})", "(0|[1-9][0-9]{0,17})"  # within 32 and 64 bits
# By the contract an event begins so, to the byte.
_BEGINNING = re.compile(rb'\{"specversion":"1\.0","id":"([0-9]+)-([0-9]+)-([0-9]+)"')

PLACE = f"^{_SMALL}-{_LARGE}$"
EVENT_PLACE = f"^{_SMALL}-{_LARGE}-{_SMALL}$"


class Place(NamedTuple):
    """Where a command stands in the commands topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        """As it begins the ids of its events."""
        return f"{self.partition}-{self.offset}"

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `str` gives; the text must match `PLACE`."""
        partition, offset = text.split("-")
        return cls(int(partition), int(offset))


class EventPlace(NamedTuple):
    """An event's id: the n-th event of a command."""

    partition: int
    offset: int
    n: int

    def __str__(self) -> str:
        """As it stands in the event."""
        return f"{self.partition}-{self.offset}-{self.n}"

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `str` gives; the text must match `EVENT_PLACE`."""
        partition, offset, n = text.split("-")
        return cls(int(partition), int(offset), int(n))


class Said(NamedTuple):
    """One event.

    Attributes:
        place: its id.
        type: `TokenConfirmed`, …
        data: its data.
    """

    place: EventPlace
    type: str
    data: dict[str, Any]


def place_of(value: bytes | None) -> EventPlace | None:
    """Give the id of an event that stands in a record; None if it is no event."""
    found = _BEGINNING.match(value or b"")
    return None if found is None else EventPlace(*map(int, found.groups()))


def read_said(value: bytes) -> Said:
    """Read an event that stands in a record."""
    event = from_json(value)
    return Said(EventPlace.read(event["id"]), event["type"][4:-3], event["data"])
