"""The slot store as an engine like the model: what it is asked, it decides in a real Redis."""

import asyncio
import json
from collections.abc import Sequence
from random import Random
from typing import Self

from pydantic_core import to_json

from allocation_core.store import NOTHING_APPLIED, BatchedCommand, SlotStore
from schemas.commands import Command
from schemas.events import Event, WrittenEvent
from schemas.wire import command_key
from services.redis import connect_redis
from tests.core.commands import as_allocators_read_it

GENERATION = 1
Said = tuple[Command, int]


class StoreEngine:
    """A partition of its own in an emptied Redis; `with` closes the connection."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._redis = connect_redis(url)
        self._store = SlotStore(self._redis, 0)
        self._applied = NOTHING_APPLIED
        self._loop.run_until_complete(self._begin())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._redis.aclose())
        self._loop.close()

    def decide(self, command: Command, timestamp_ms: int) -> list[Event]:
        """Decide one command in a batch of its own."""
        return self.decide_batch([(command, timestamp_ms)])[0]

    def decide_batch(self, commands: Sequence[Said]) -> list[list[Event]]:
        """Decide commands in one script call."""
        first = self._applied + 1
        batch = [
            BatchedCommand(offset, timestamp_ms, command_key(command), as_allocators_read_it(command))
            for offset, (command, timestamp_ms) in enumerate(commands, start=first)
        ]
        events = self._loop.run_until_complete(
            self._store.decide(
                batch,
                generation=GENERATION,
                expected=self._applied,
                committed=first,
                last=batch[-1].offset,
                digest=b"",
            )
        )
        self._applied = batch[-1].offset
        return [[_as_event(event) for event in events[batched.offset]] for batched in batch]

    def went_on(self, applied: int) -> None:
        """Take note that the state was led on by somebody else."""
        self._applied = applied

    async def _begin(self) -> None:
        await self._redis.flushall()
        await self._store.fence(GENERATION)


def _as_event(event: WrittenEvent) -> Event:
    data = json.loads(event.data)
    assert event.data.encode() == to_json(data), "written otherwise than the model's events are"
    assert event.token_id == data.get("token_id")
    assert event.reason == (data["reason"] if event.type == "CommandRejected" else "")
    return Event(event.type, event.sequence, data)


def in_batches(items: Sequence[Said], rng: Random) -> list[Sequence[Said]]:
    """Cut into batches, many small and some large."""
    batches: list[Sequence[Said]] = []
    at = 0
    while at < len(items):
        size = rng.choice([1, 2, 5, 20, 100, 500])
        batches.append(items[at : at + size])
        at += size
    return batches
