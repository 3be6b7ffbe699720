"""An owner of a partition with its log, its topics and its Redis in memory."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from allocation_core.model import Model
from allocation_core.store import NOTHING_APPLIED, BatchedCommand, Marks, Rewind, SlotStore, record_digest
from schemas.events import WrittenEvent
from schemas.plain import AnyCommand
from schemas.wire import written
from services.allocator.metrics import AllocatorMetrics, PartitionMetrics
from services.allocator.owner import CommandLog, LogBounds, Owner, Unrecoverable
from services.allocator.records import NOWHERE, CommandRecord, EventPlace, Headers, OutRecord, event_place
from tests.core.commands import as_model

NOON_MS = 1_795_435_200_000  # 2026-11-23T12:00:00Z
GENERATION = 5
KEY = b"h/d"


class Record(NamedTuple):
    """One record of the commands topic (`CommandRecord`)."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def a_command(offset: int) -> CommandRecord:
    value = (
        '{"specversion":"1.0","id":"c%d","source":"desk","type":"opd.CheckIn.v1",'
        '"data":{"facility_id":"h","department_id":"d","token_id":"h.d.20261123.1"}}'
    )
    return Record(offset, NOON_MS, KEY, (value % offset).encode(), ())


def rubbish(offset: int) -> CommandRecord:
    return Record(offset, NOON_MS, KEY, b"rubbish", (("sender", b"x"),))


@dataclass
class Log:
    """A partition of the commands topic."""

    records: list[CommandRecord]
    first: int = 0
    group_has: int = 0
    at: int | None = None
    is_paused: bool = True
    sought: list[int] = field(default_factory=list)
    committable: list[int] = field(default_factory=list)

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def seek(self, offset: int) -> None:
        self.at = offset
        self.sought.append(offset)

    async def fetch(self, *, most: int, wait_s: float) -> Sequence[CommandRecord]:
        assert not self.is_paused
        assert self.at is not None
        assert wait_s > 0
        await asyncio.sleep(0)
        found = [record for record in self.records if record.offset >= self.at][:most]
        if found:
            self.at = found[-1].offset + 1
        return found

    async def bounds(self) -> LogBounds:
        return LogBounds(self.first, self.records[-1].offset + 1 if self.records else self.first)

    async def record_at(self, offset: int) -> CommandRecord | None:
        return next((record for record in self.records if record.offset == offset), None)

    async def committed(self) -> int:
        return self.group_has

    def done(self, offset: int) -> None:
        self.committable.append(offset)

    def partition_of(self, key: bytes) -> int:
        assert key == KEY
        return 0


@dataclass
class Topics:
    """The events and the dead letters of the partition; `failures` are raised by the next sends, one each."""

    events: list[OutRecord] = field(default_factory=list)
    letters: list[OutRecord] = field(default_factory=list)
    highest: EventPlace = NOWHERE
    highest_letter: int = -1
    failures: list[Exception] = field(default_factory=list)
    may_send: asyncio.Event = field(default_factory=asyncio.Event)
    sending: int = 0

    def __post_init__(self) -> None:
        self.may_send.set()

    async def published(self) -> EventPlace:
        return max([self.highest, *self.places()])

    async def dead_lettered(self) -> int:
        return self.highest_letter

    def places(self) -> list[EventPlace]:
        places = [event_place(record.value, 0) for record in self.events]
        return [place for place in places if place is not None]

    async def publish_events(self, records: Sequence[OutRecord]) -> None:
        await self._send()
        self.events += records

    async def publish_dead_letters(self, records: Sequence[OutRecord]) -> None:
        await self._send()
        self.letters += records

    async def _send(self) -> None:
        self.sending += 1
        await self.may_send.wait()
        self.sending -= 1
        if self.failures:
            raise self.failures.pop(0)


class Store(SlotStore):
    """A slot store in memory; `answers` are raised by the next calls of these names, one each.

    A call whose name is in `hanging` waits until it is taken out.
    """

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.model = Model()
        self.kept: dict[int, list[WrittenEvent]] = {}
        self.answers: dict[str, list[Exception]] = {}
        self.hanging: set[str] = set()
        self.calls: list[str] = []
        self.committed: list[int] = []
        self.owner_is: Callable[[], str] = str
        self.states_at_a_fence: list[str] = []

    async def _asked(self, what: str) -> None:
        self.calls.append(what)
        if what == "fence":
            self.states_at_a_fence.append(self.owner_is())
        await until(lambda: what not in self.hanging)
        await asyncio.sleep(0)
        if self.answers.get(what):
            raise self.answers[what].pop(0)

    async def fence(self, generation: int) -> Marks:
        assert generation == GENERATION
        await self._asked("fence")
        return self.marks

    async def decide(
        self,
        commands: Sequence[BatchedCommand],
        *,
        generation: int,
        expected: int,
        committed: int,
        last: int,
        digest: bytes,
    ) -> Mapping[int, list[WrittenEvent]]:
        assert generation == GENERATION
        await self._asked("decide")
        if expected != self.marks.applied:
            raise Rewind(str(self.marks.applied))
        assert all(expected < one.offset <= last for one in commands)
        self.committed.append(committed)
        self.marks = Marks(last, digest, half_written=False)
        events = {
            one.offset: [written(event) for event in self.model.decide(as_model(one.command), one.timestamp_ms)]
            for one in commands
        }
        self.kept |= events
        return events

    async def outcomes(
        self, commands: Mapping[int, AnyCommand], *, generation: int, expected: int
    ) -> dict[int, list[WrittenEvent]]:
        assert (generation, expected) == (GENERATION, self.marks.applied)
        await self._asked("outcomes")
        return {offset: self.kept[offset] for offset in commands if offset in self.kept}

    async def check(self, *, generation: int, expected: int) -> None:
        assert (generation, expected) == (GENERATION, self.marks.applied)
        await self._asked("check")

    async def clear(self, generation: int) -> None:
        assert generation == GENERATION
        await self._asked("clear")
        self.marks, self.model, self.kept = Marks(NOTHING_APPLIED, b"", half_written=False), Model(), {}


class Saved:
    """Snapshots, of which the newest leads to these marks; none where there is no such."""

    def __init__(self, store: Store, marks: Marks | None) -> None:
        self.store, self.marks = store, marks
        self.asked: list[tuple[int, int]] = []

    async def load_newest(self, commands: CommandLog, *, after: int, answered: int, generation: int) -> bool:
        del commands
        assert generation == GENERATION
        self.asked.append((after, answered))
        if self.marks is None:
            return False
        self.store.marks = self.marks
        return True


@dataclass
class Desk:
    """An owner and all that it talks to."""

    log: Log
    topics: Topics
    store: Store
    snapshots: Saved | None = None

    def __post_init__(self) -> None:
        self.owner = Owner(
            0,
            generation=GENERATION,
            commands=self.log,
            answers=self.topics,
            store=self.store,
            commands_topic="commands",
            metrics=PartitionMetrics(AllocatorMetrics(), 0),
            snapshots=self.snapshots,
        )
        self.store.owner_is = lambda: self.owner.state

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        task = self.owner.start()
        try:
            yield
        finally:
            await self.owner.stop(within_s=5)
        assert task.done()
        assert self.owner.state == "stopped"
        assert self.log.is_paused

    async def answers(self, count: int) -> None:
        """Wait until so many records are answered."""
        await until(lambda: len(self.topics.events) + len(self.topics.letters) >= count)

    async def refuses(self, text: str) -> None:
        """Expect the owner to end with this error."""
        with pytest.raises(Unrecoverable, match=re.escape(text)):
            await asyncio.wait_for(self.owner.start(), 10)
        assert self.log.is_paused
        assert self.owner.state == "stopped"


async def everything_that_can_happen() -> None:
    """Let whatever waits for nothing go on."""
    for _ in range(100):
        await asyncio.sleep(0)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  whatever is waited for has no event
            await asyncio.sleep(0)


def desk(*records: CommandRecord, marks: tuple[int, CommandRecord | None] = (-1, None), half: bool = False) -> Desk:
    applied, record = marks
    digest = b"" if record is None else record_digest(record.key, record.value)
    return Desk(Log(list(records)), Topics(), Store(Marks(applied, digest, half)))
