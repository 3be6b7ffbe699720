"""Hands what the group's consumer fetches to its partitions.

aiokafka asks a broker for more only when the records of all of its partitions are taken, or after 100 ms; owners that
take their own partition's records one batch at a time would wait for each other. So everything is taken at once and
kept here, and a partition that has enough is paused.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError

from services.allocator.records import CommandRecord

ENOUGH_RECORDS = 8_000
ENOUGH_BYTES = 16 * 1024 * 1024  # one record that is none of a command may have as many
RETRY_AFTER_S = 0.1
TOGETHER_WITHIN_S = 0.004
LARGE_RECORDS = 100
_WAIT_MS = 1_000


@dataclass
class _Channel:
    """What one partition has waiting, and whether it is fetched at all."""

    records: deque[CommandRecord] = field(default_factory=deque)
    size: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    failure: KafkaError | None = None
    is_held: bool = True
    is_full: bool = False


class CommandFeed:
    """The records of all partitions that this member of the group has."""

    def __init__(self, consumer: Callable[[], AIOKafkaConsumer]) -> None:
        self._consumer = consumer
        self._channels: dict[TopicPartition, _Channel] = {}
        self._taken: set[TopicPartition] = set()  # and not decided yet
        self._all_decided = asyncio.Event()

    async def run(self) -> None:
        """Take what is fetched, until cancelled."""
        consumer = self._consumer()
        while True:
            try:
                batches = await consumer.getmany(timeout_ms=_WAIT_MS)
            except ConsumerStoppedError:
                return
            except KafkaError as failure:
                self._fail(failure)
                await asyncio.sleep(RETRY_AFTER_S)
                continue
            for place, records in batches.items():
                self._deliver(place, records)

    def hold(self, place: TopicPartition) -> None:
        """Fetch nothing of a partition until `release`; takes effect at once, also for what was fetched already."""
        self._channels[place] = _Channel()
        self._decided(place)
        self._pause_or_resume(place)

    def start_at(self, place: TopicPartition, offset: int) -> None:
        """Go on at this offset once the partition is released.

        Raises:
            IllegalStateError: the partition was taken away.
        """
        self._consumer().seek(place, offset)
        self._channels[place] = _Channel()

    def release(self, place: TopicPartition) -> None:
        """Fetch again."""
        self._channels[place].is_held = False
        self._pause_or_resume(place)

    async def take(self, place: TopicPartition, *, most: int, wait_s: float) -> Sequence[CommandRecord]:
        """Give the next records of a partition; none when none came in time. Those before are decided.

        Raises:
            KafkaError: fetching failed.
        """
        self._decided(place)
        channel = self._channels[place]
        if not channel.records:
            channel.arrived.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await channel.arrived.wait()
            except TimeoutError:
                return ()
        if channel.failure is not None:
            failure, channel.failure = channel.failure, None
            raise failure
        taken = [channel.records.popleft() for _ in range(min(most, len(channel.records)))]
        channel.size -= _size(taken)
        self._taken.add(place)
        self._all_decided.clear()
        if channel.is_full and len(channel.records) < ENOUGH_RECORDS // 2 and channel.size < ENOUGH_BYTES // 2:
            channel.is_full = False
            self._pause_or_resume(place)
        return taken

    async def others_decided(self, place: TopicPartition, records: int) -> None:
        """Wait a moment for what the other partitions are deciding: what is said together is one request.

        One request less for Kafka, and for each who reads what is said. Nobody waits who has much to say, or whose next
        batch is there already.
        """
        if not self._taken or place in self._taken or records >= LARGE_RECORDS:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(TOGETHER_WITHIN_S):
                await self._all_decided.wait()

    def let_go(self) -> None:
        """Wait for no partition any more: what was taken is decided, or left to the next owner."""
        self._taken.clear()
        self._all_decided.set()

    def _decided(self, place: TopicPartition) -> None:
        self._taken.discard(place)
        if not self._taken:
            self._all_decided.set()

    def _fail(self, failure: KafkaError) -> None:
        """Tell those whom it concerns: the partition that it names, or all; a held one says anew where it starts."""
        named = failure.args[0] if failure.args and isinstance(failure.args[0], TopicPartition) else None
        for place, channel in self._channels.items():
            if not channel.is_held and named in {None, place}:
                channel.failure = failure
                channel.arrived.set()

    def _deliver(self, place: TopicPartition, records: Sequence[CommandRecord]) -> None:
        channel = self._channels.get(place)
        if channel is None or channel.is_held:
            return  # fetched before the hold: the owner says anew where it starts
        channel.records.extend(records)
        channel.size += _size(records)
        channel.arrived.set()
        if len(channel.records) >= ENOUGH_RECORDS or channel.size >= ENOUGH_BYTES:
            channel.is_full = True
            self._pause_or_resume(place)

    def _pause_or_resume(self, place: TopicPartition) -> None:
        channel = self._channels[place]
        try:
            if channel.is_held or channel.is_full:
                self._consumer().pause(place)
            else:
                self._consumer().resume(place)
        except IllegalStateError:
            pass  # taken away: there is nothing to fetch


def _size(records: Sequence[CommandRecord]) -> int:
    size = 0
    for record in records:
        size += len(record.key or b"") + len(record.value or b"")
        for name, value in record.headers:
            size += len(name) + len(value or b"")
    return size
