"""How far the commands topic is ahead of what is answered."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import Gauge

from services.allocator.owner import LogUnavailable

LOOK_EVERY_S = 10.0
_ANSWERS_WITHIN_S = 5.0


class Ends(Protocol):
    """Where partitions end (`kafka.TailReader`)."""

    async def ends(self, places: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Give the next offset that will be written to each; raises LogUnavailable."""


class Consumer(Protocol):
    """Who commits (aiokafka's consumer)."""

    async def committed(self, place: TopicPartition) -> int | None:
        """Give the group's committed offset; raises KafkaError."""


async def watch_lag(
    places: Callable[[], Collection[TopicPartition]], consumer: Callable[[], Consumer], log: Ends, lag: Gauge
) -> None:
    """Show the lag of the partitions that there are at the time, until cancelled.

    Brokers are asked, and not what was fetched last: of a partition that waits nothing is fetched.
    """
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        found: dict[int, int] = {}
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                ends = await log.ends(places())
                for place, end in ends.items():
                    found[place.partition] = end - (await consumer().committed(place) or 0)
        except (KafkaError, LogUnavailable, TimeoutError):
            continue  # that Kafka is away is told by those who wait for it
        lag.clear()  # what another one has now is no longer ours to tell of
        for partition, records in found.items():
            lag.labels(partition).set(max(0, records))
