"""Sees events as they come: when which command was answered first, and what was said again."""

import asyncio
import threading
import time
from bisect import bisect_left
from itertools import pairwise
from typing import NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.allocator.records import NOWHERE, event_place
from services.settings import Settings


class Arrival(NamedTuple):
    """Up to which offset of the commands topic a partition was answered, and since when (monotonic clock, seconds)."""

    at: float
    offset: int


class Watch:
    """Reads the events topic in a thread of its own.

    Attributes:
        repeats: events that stood again, or behind a later one.
    """

    def __init__(self, settings: Settings, partitions: int) -> None:
        self.repeats = 0
        self._settings = settings
        self._arrivals: list[list[Arrival]] = [[] for _ in range(partitions)]
        self._highest = [NOWHERE] * partitions
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._in_thread, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def answered_at(self, partition: int, offset: int) -> float | None:
        """Say when the first event came of this command or a later one; None while there is none."""
        arrivals = self._arrivals[partition]
        at = bisect_left(arrivals, offset, key=lambda arrival: arrival.offset)
        return arrivals[at].at if at < len(arrivals) else None

    def answered(self, partition: int) -> int:
        """Give the highest offset that was answered."""
        return self._highest[partition].offset

    def longest_silence(self, begin: float, end: float) -> float:
        """Give the longest time, in seconds, that a partition between these times said nothing."""
        return max(self._silence(arrivals, begin, end) for arrivals in self._arrivals)

    @staticmethod
    def _silence(arrivals: list[Arrival], begin: float, end: float) -> float:
        times = [begin, *(arrival.at for arrival in arrivals if begin < arrival.at < end), end]
        return max(after - before for before, after in pairwise(times))

    def _in_thread(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception as error:  # noqa: BLE001  told to whoever stops it
            self._failure = error

    async def _watch(self) -> None:
        places = [TopicPartition(self._settings.events_topic, number) for number in range(len(self._highest))]
        async with AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers, auto_offset_reset="earliest", fetch_max_wait_ms=50
        ) as consumer:
            consumer.assign(places)
            while not self._stopping.is_set():
                batches = await consumer.getmany(timeout_ms=100)
                now = time.monotonic()
                for place, records in batches.items():
                    for record in records:
                        self._note(place.partition, record.value)
                    self._arrivals[place.partition].append(Arrival(now, self._highest[place.partition].offset))

    def _note(self, partition: int, value: bytes | None) -> None:
        place = event_place(value, partition)
        if place is None:
            return
        if place <= self._highest[partition]:
            self.repeats += 1
        else:
            self._highest[partition] = place
