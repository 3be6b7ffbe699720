"""One partition of the events topic, as far as it is kept."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

import asyncpg
from aiokafka import ConsumerRecord

from schemas.events import AnyEvent, UnreadableEvent, place_of
from schemas.follow import Contradiction, Follower, Gap
from services.history.rows import Read, Row, Rows, read_quickly


class Position(NamedTuple):
    """How far a partition is kept.

    Attributes:
        next_offset: the record of the events topic to go on with.
        last_digest: of the record before that; none at the beginning.
        command_offset: of the command that caused the last event kept; -1 at the beginning.
        n: which of that command's events it was.
    """

    next_offset: int = 0
    last_digest: bytes | None = None
    command_offset: int = -1
    n: int = -1


class Partition:
    """Takes the records of one partition, in order, and knows how to go on later.

    Attributes:
        position: behind the last record taken.
        repeats: records that stand again, so far.
    """

    def __init__(
        self, number: int, position: Position, departments: list[asyncpg.Record], read: Read = read_quickly
    ) -> None:
        """Go on where the rows of `positions` and `departments` say."""
        self.number = number
        self.position = position
        self.repeats = 0
        self._days: dict[str, str] = {_name(row): row["day"] for row in departments}
        last = {
            _name(row): [row["sequence"], [number, row["command_offset"], row["n"]], row["digest"]]
            for row in departments
        }
        self._follower = Follower({"version": 1, "departments": last}, read=read)
        self._touched: set[str] = set()

    def take(self, records: list[ConsumerRecord[bytes, bytes]], rows: Rows) -> None:
        """Take the next records: each event once; what is wrong with the others is a row too."""
        place = (self.position.command_offset, self.position.n)
        for record in records:
            event = self._next_event(record, rows)
            if event is None:
                continue
            partition, *found = place_of(event.id)
            if partition != self.number or tuple(found) <= place:
                # Of two events that were never here the first has the lower id (spec §4): this one is forged.
                rows.faults.append((self.number, record.offset, "its id is another event's"))
                continue
            place = rows.add(event, self._day(event))
        last = records[-1]
        self.position = Position(last.offset + 1, digest(last), *place)

    def departments(self) -> Iterator[Row]:
        """Give the rows of the departments that were touched since the last call."""
        last = self._follower.state()["departments"]
        for name in self._touched:
            sequence, (_, offset, n), digest_of_event = last[name]
            yield (*name.split("/"), self.number, sequence, offset, n, digest_of_event, self._days[name])
        self._touched.clear()

    def _next_event(self, record: ConsumerRecord[bytes, bytes], rows: Rows) -> AnyEvent | None:
        """Give the event of a record; none if it stood there before, or is none."""
        if b"\\u0000" in (record.value or b""):
            rows.faults.append((self.number, record.offset, "U+0000 in a text"))  # PostgreSQL has no such text
            return None
        try:
            event = self._take(record, rows)
        except (UnreadableEvent, Contradiction) as error:
            rows.faults.append((self.number, record.offset, str(error)))
            return None
        self.repeats += event is None
        return event

    def _take(self, record: ConsumerRecord[bytes, bytes], rows: Rows) -> AnyEvent | None:
        try:
            return self._follower.take(record.key, record.value)
        except Gap as gap:
            rows.faults.append((self.number, record.offset, f"events missed: {gap}"))
            self._follower.skip_to(gap)
            return self._follower.take(record.key, record.value)

    def _day(self, event: AnyEvent) -> str:
        """R3: the latest UTC day of the department's commands so far, each of which caused an event."""
        name = f"{event.data.facility_id}/{event.data.department_id}"
        self._touched.add(name)
        day = event.time[:10]
        known = self._days.get(name)
        if known is None or day > known:
            self._days[name] = day
            return day
        return known


def digest(record: ConsumerRecord[Any, Any]) -> bytes:
    """By which a record is known again."""
    return blake2b(repr((record.key, record.value)).encode(), digest_size=16).digest()


def _name(row: asyncpg.Record) -> str:
    return f"{row['facility_id']}/{row['department_id']}"
