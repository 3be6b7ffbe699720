"""How far commands wait to be answered: asked of the brokers, not of what was fetched."""

import asyncio
from collections.abc import Collection, Mapping

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from services.allocator import lag as module
from services.allocator.lag import watch_lag
from services.allocator.metrics import AllocatorMetrics
from services.allocator.owner import LogUnavailable
from tests.services.desk import until

PLACES = [TopicPartition("commands", number) for number in range(3)]


class Kafka:
    """Both sides of it: where partitions end, and what was committed."""

    def __init__(self) -> None:
        self.end = dict.fromkeys(PLACES, 100)
        self.done: dict[TopicPartition, int | None] = {PLACES[0]: 40, PLACES[1]: None, PLACES[2]: 101}
        self.failures: list[Exception] = []
        self.asked = 0

    async def ends(self, places: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.asked += 1
        if self.failures:
            raise self.failures.pop()
        return {place: self.end[place] for place in places}

    async def committed(self, place: TopicPartition) -> int | None:
        await asyncio.sleep(0)
        return self.done[place]


def test_the_lag_is_that_of_the_partitions_that_are_had_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0)
    kafka, metrics, places = Kafka(), AllocatorMetrics(), list(PLACES)

    def shown() -> list[float | None]:
        name = "opd_consumer_lag_records"
        return [metrics.registry.get_sample_value(name, {"partition": f"{number}"}) for number in range(3)]

    async def run() -> None:
        watching = asyncio.create_task(watch_lag(lambda: places, lambda: kafka, kafka, metrics.lag))
        await until(lambda: shown() == [60, 100, 0])
        kafka.failures = [LogUnavailable(), KafkaConnectionError()]
        kafka.end[PLACES[0]] = 105
        places.pop()
        await until(lambda: shown() == [65, 100, None])
        assert kafka.failures == []
        watching.cancel()

    asyncio.run(run())
