"""Where in the events topic a reader goes on: found by halves, and right whatever stands there twice."""

import asyncio
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from services.allocator.owner import LogBounds
from services.gateway import kafka
from services.gateway.kafka import KafkaLog
from services.gateway.said import EventPlace, Place, place_of
from services.settings import Settings
from tests.gateway.test_streams import KEY, event

RNG = Random(3)


class Topic:
    """One partition of the events topic, with a gap here and there as transactions leave them."""

    def __init__(self, values: list[bytes]) -> None:
        self.records = {
            offset: SimpleNamespace(key=KEY, value=value) for offset, value in enumerate(values) if offset % 97
        }
        self.end = len(values)
        self.read_so_far = 0

    async def bounds(self, _where: object) -> LogBounds:
        return LogBounds(0, self.end)

    async def read(self, _where: object, start: int, end: int) -> list[Any]:
        found = [self.records[offset] for offset in range(start, end) if offset in self.records]
        self.read_so_far += len(found)
        return found


def topic() -> Topic:
    """Events of 30,000 commands; now and then up to 2,000 that were said before are said again behind newer ones."""
    values: list[bytes] = []
    for offset in range(30_000):
        values += [event(offset, n) for n in range(1 + offset % 2)]
        if RNG.random() < 0.001:
            values += values[-RNG.randrange(2_000) :]
    return Topic(values)


def test_nothing_behind_a_place_is_missed_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = topic()
    monkeypatch.setattr(kafka, "TailReader", lambda _: found)
    log = KafkaLog(Settings(), 1)
    places = {place for record in found.records.values() if (place := place_of(record.value))}

    async def after(place: EventPlace) -> set[EventPlace]:
        return {record.place async for record in log.events_after(place)}

    for place in [
        EventPlace(0, 0, 0),
        EventPlace(0, 29_999, 1),
        EventPlace(0, 10**9, 0),
        *RNG.sample(sorted(places), 6),
    ]:
        assert asyncio.run(after(place)) == {each for each in places if each > place}
    found.read_so_far = 0
    assert asyncio.run(after(max(places))) == set()
    assert found.read_so_far < 12_000, "not from the beginning"


def test_there_is_no_command_in_a_partition_that_is_not() -> None:
    async def run() -> None:
        log = KafkaLog(Settings(), 2)
        assert await log.command_at(Place(2, 0)) is None
        await log.stop()

    asyncio.run(run())
