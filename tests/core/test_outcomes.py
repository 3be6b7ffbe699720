"""Which outcomes are kept, for how long, and what is made of them."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from allocation_core.outcomes import Outcomes
from allocation_core.store import BatchedCommand, SlotStore
from schemas.commands import Command
from schemas.events import EVENTS
from schemas.export import message_type
from schemas.wire import command_key
from tests.core.commands import make_command
from tests.core.days import random_commands

GENERATION = 1
NOT_PACKED = b"\xc1"


def a_command(number: int) -> Command:
    pool = {"facility_id": "h", "department_id": "d", "date": "2026-11-23", "slot": "09:00-10:00"}
    return make_command("CloseSlot", f"c{number}", pool)


def with_store(url: str, ask: Callable[[SlotStore], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with Redis.from_url(url) as redis:
            store = SlotStore(redis, 0)
            await store.fence(GENERATION)
            return await ask(store)

    return asyncio.run(run())


async def decide(store: SlotStore, offsets: list[int], *, expected: int, committed: int, last: int) -> Any:
    batch = [BatchedCommand(offset, 1_795_392_000_000, b"h/d", a_command(offset)) for offset in offsets]
    return await store.decide(
        batch, generation=GENERATION, expected=expected, committed=committed, last=last, digest=b""
    )


def test_an_outcome_is_given_again_as_it_was(every_redis: str) -> None:
    async def ask(store: SlotStore) -> None:
        decided = await decide(store, [0, 1], expected=-1, committed=0, last=1)
        again = await store.outcomes({0: a_command(0), 1: a_command(1)}, generation=GENERATION, expected=1)
        assert again == dict(decided)
        assert (again[1], ()) == (decided.get(1), decided.get(2, ()))

    with_store(every_redis, ask)


def test_outcomes_of_every_kind_are_passed_over(every_redis: str) -> None:
    """Who asks for every other command's finds them between those of the rest."""
    batch = [
        BatchedCommand(offset, timestamp_ms, command_key(command), command)
        for offset, (command, timestamp_ms) in enumerate(random_commands(seed=4, count=1_200))
    ]
    last = batch[-1].offset

    async def ask(store: SlotStore) -> None:
        decided = await store.decide(batch, generation=GENERATION, expected=-1, committed=0, last=last, digest=b"")
        for first in (0, 1):
            some = {each.offset: each.command for each in batch[first::2]}
            found = await store.outcomes(some, generation=GENERATION, expected=last)
            assert found == {offset: decided[offset] for offset in some}
        said = [event for events in decided.values() for event in events]
        assert {event.type for event in said} == {message_type(event).split(".")[1] for event in EVENTS}
        assert any(event.reason == "DUPLICATE_COMMAND" and event.token_id for event in said)

    with_store(every_redis, ask)


def test_outcomes_go_once_they_are_committed(every_redis: str) -> None:
    async def ask(store: SlotStore) -> None:
        await decide(store, [0, 1], expected=-1, committed=0, last=1)
        await decide(store, [2], expected=1, committed=1, last=2)
        found = await store.outcomes({n: a_command(n) for n in range(3)}, generation=GENERATION, expected=2)
        assert sorted(found) == [0, 1, 2], "a batch stays while a part of it is not committed"
        await decide(store, [3], expected=2, committed=3, last=3)
        found = await store.outcomes({n: a_command(n) for n in range(4)}, generation=GENERATION, expected=3)
        assert sorted(found) == [3]
        assert await store._redis.execute_command("HKEYS", "opd{0}:o") == [b"3"]
        await decide(store, [4], expected=3, committed=4, last=4)
        assert await store._redis.execute_command("HKEYS", "opd{0}:o") == [b"4"], (
            "a single one that is not kept is not stored either"
        )

    with_store(every_redis, ask)


def test_the_last_command_s_outcome_outlives_unreadable_records_behind_it(every_redis: str) -> None:
    """A group that lost its offsets asks for it: the events topic does not say whether all of it is out."""

    async def ask(store: SlotStore) -> None:
        await decide(store, [0], expected=-1, committed=0, last=0)
        await decide(store, [], expected=0, committed=1, last=5)
        await decide(store, [], expected=5, committed=6, last=9)
        assert sorted(await store.outcomes({0: a_command(0)}, generation=GENERATION, expected=9)) == [0]

    with_store(every_redis, ask)


def test_outcomes_that_nobody_asks_for_are_not_read() -> None:
    """A rebuild decides what was said long ago: it would spend a third of its time on events that go nowhere."""
    outcomes = Outcomes(NOT_PACKED, {})
    with pytest.raises(struct.error):
        len(outcomes)
