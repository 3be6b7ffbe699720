"""What the allocator keeps of what was fetched: bounded in records and in bytes, and nothing lost on the way."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError

from services.allocator import feed
from services.allocator.feed import CommandFeed

PLACE = TopicPartition("commands", 0)


class FakeConsumer:
    """Gives records of one partition as long as it is not paused, and stops when there are no more."""

    def __init__(self, sizes: Sequence[int], part: str) -> None:
        self.sizes = list(sizes)
        self.part = part
        self.given = 0
        self.paused: set[TopicPartition] = set()

    def pause(self, place: TopicPartition) -> None:
        self.paused.add(place)

    def resume(self, place: TopicPartition) -> None:
        self.paused.discard(place)

    def seek(self, place: TopicPartition, offset: int) -> None:
        assert (place, offset) == (PLACE, 0)

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        assert timeout_ms
        await asyncio.sleep(0)
        if self.given == len(self.sizes):
            raise ConsumerStoppedError
        if PLACE in self.paused:
            return {}
        size = self.sizes[self.given]
        key, value, header = (bytes(size) if part == self.part else b"" for part in ("key", "value", "header"))
        headers = (("", header),) if header else ()
        record = ConsumerRecord("commands", 0, self.given, 0, 0, key, value, None, len(key), len(value), headers)
        self.given += 1
        return {PLACE: [record]}


@pytest.mark.parametrize("part", ["key", "value", "header"])
@pytest.mark.parametrize(("size", "kept"), [(1, 40), (1_000, 10), (9_999, 2), (1_000_000, 1)])
def test_it_keeps_no_more_than_enough_and_gives_all_in_order(
    size: int, kept: int, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "ENOUGH_RECORDS", 40)
    monkeypatch.setattr(feed, "ENOUGH_BYTES", 10_000)
    consumer = FakeConsumer([size] * 100, part)

    async def take_all() -> list[int]:
        commands = CommandFeed(lambda: consumer)
        commands.hold(PLACE)
        commands.start_at(PLACE, 0)
        commands.release(PLACE)
        running = asyncio.create_task(commands.run())
        taken: list[int] = []
        while len(taken) < 100:
            for _ in range(200):
                await asyncio.sleep(0)
            assert consumer.given - len(taken) <= kept
            taken += [record.offset for record in await commands.take(PLACE, most=7, wait_s=5)]
        await running
        return taken

    assert asyncio.run(take_all()) == list(range(100))
