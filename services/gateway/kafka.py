"""The Kafka side: commands written once each, single ones read back, events heard."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.commands import Command
from schemas.wire import CONTENT_TYPE, UnreadableRecord, read_command
from services.allocator.kafka import TailReader, partitioner
from services.allocator.owner import LogUnavailable
from services.gateway.feed import EventFeed, Record
from services.gateway.said import EventPlace, Place, place_of
from services.kafka import kafka_client
from services.settings import Settings

_log = structlog.stdlib.get_logger(__name__)

SENT_WITHIN_S = 4.0
READ_WITHIN_S = 4.0
_AGAIN_AFTER_S = 0.5
_POLL_MS = 500
_STEP_RECORDS = 500
# Old events may stand again behind newer ones (spec §4), and mislead a search: it begins so much earlier than it found.
_REPEATS = 8_000


class NotWritten(Exception):  # noqa: N818  it is what happened
    """Kafka did not take the command, and will not."""


class MaybeWritten(Exception):  # noqa: N818  it is what happened
    """Kafka has not said whether it took the command."""


class KafkaLog:
    """Commands and events of a running Kafka (`writes.Log`)."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        self.partition_of = partitioner(partitions)
        self._settings, self._partitions = settings, partitions
        self._tails = TailReader(settings)
        self._producer: AIOKafkaProducer | None = None
        self._one_at_a_time = asyncio.Lock()
        self._not_before = 0.0
        self._ending: set[asyncio.Task[None]] = set()

    async def append(self, key: bytes, value: bytes) -> Place:
        """Write a command, acknowledged by all replicas, and give its place.

        Raises:
            NotWritten: it was not written.
            MaybeWritten: it may have been, or may yet be.
        """
        topic, partition = self._settings.commands_topic, self.partition_of(key)
        sending: asyncio.Future[Any] | None = None
        try:
            async with asyncio.timeout(SENT_WITHIN_S):
                producer = self._producer or await self._current()
                sending = await producer.send(topic, value, key=key, partition=partition, headers=[CONTENT_TYPE])
                record = await sending
        except (KafkaError, TimeoutError, OSError) as error:
            if sending is None:
                raise NotWritten(type(error).__name__) from error
            # A failed idempotent send takes its number with it: the producer would be refused from then on.
            self._give_up(producer)
            raise MaybeWritten(type(error).__name__) from error
        return Place(record.partition, record.offset)

    async def command_at(self, place: Place) -> Command | None:
        """Give the command that stands there; None if none does (any more).

        Raises:
            LogUnavailable: Kafka does not answer.
        """
        if place.partition >= self._partitions:
            return None
        where = TopicPartition(self._settings.commands_topic, place.partition)
        async with _answers_in_time():
            bounds = await self._tails.bounds(where)
            if not bounds.first <= place.offset < bounds.end:
                return None
            records = await self._tails.read(where, place.offset, place.offset + 1)
        try:
            return read_command(records[0].key, records[0].value, records[0].timestamp) if records else None
        except UnreadableRecord:
            return None

    async def events_after(self, place: EventPlace) -> AsyncIterator[Record]:
        """Give all events of a partition behind one, up to now; some may be repeats of each other.

        Raises:
            LogUnavailable: Kafka does not answer.
        """
        where = TopicPartition(self._settings.events_topic, place.partition)
        async with _answers_in_time():
            bounds = await self._tails.bounds(where)
            start = await self._search(where, place, bounds.first, bounds.end)
        for step in range(max(bounds.first, start - _REPEATS), bounds.end, _STEP_RECORDS):
            async with _answers_in_time():
                records = await self._tails.read(where, step, min(step + _STEP_RECORDS, bounds.end))
            for record in records:
                found = place_of(record.value)
                if found is not None and found > place:
                    yield Record(record.key, record.value, found)

    async def _search(self, where: TopicPartition, place: EventPlace, low: int, high: int) -> int:
        """Give an offset of the events topic near which the events behind that one begin."""
        while low < high:
            middle = (low + high) // 2
            records = await self._tails.read(where, middle, min(middle + 10, high))
            found = next((each for each in map(_place_of_record, records) if each is not None), None)
            if found is None or found > place:
                high = middle
            else:
                low = middle + 1
        return low

    async def start(self) -> None:
        """Connect."""
        await self._tails.start()
        await self._current()

    async def stop(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            self._give_up(self._producer)
        await asyncio.gather(*self._ending)
        await self._tails.stop()

    async def _current(self) -> AIOKafkaProducer:
        async with self._one_at_a_time:
            if self._producer is None:
                if time.monotonic() < self._not_before:
                    raise NotWritten("Kafka did not answer a moment ago")
                self._producer = await self._started()
            return self._producer

    async def _started(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **kafka_client(self._settings),
            enable_idempotence=True,
            acks="all",
            request_timeout_ms=int(SENT_WITHIN_S * 1000),
        )
        try:
            await producer.start()
        except BaseException:  # cancelled too, it would keep its connections
            self._not_before = time.monotonic() + _AGAIN_AFTER_S
            self._end(producer)
            raise
        return producer

    def _give_up(self, failed: AIOKafkaProducer) -> None:
        if self._producer is failed:
            self._producer = None
            self._end(failed)

    def _end(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_ended(producer))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


async def _ended(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(KafkaError, OSError):
        await producer.stop()


def _place_of_record(record: object) -> EventPlace | None:
    return place_of(getattr(record, "value", None))


@asynccontextmanager
async def _answers_in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            yield
    except (TimeoutError, OSError) as error:
        raise LogUnavailable("Kafka does not answer") from error


@asynccontextmanager
async def hearing(settings: Settings, partitions: int, feed: EventFeed) -> AsyncIterator[None]:
    """Have the feed hear all partitions of the events topic from now on."""
    consumer = AIOKafkaConsumer(**kafka_client(settings), enable_auto_commit=False, auto_offset_reset="latest")
    task: asyncio.Task[None] | None = None
    try:
        await consumer.start()
        places = [TopicPartition(settings.events_topic, number) for number in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_end()
        for place in places:
            await consumer.position(place)  # the end is the one of now, not the one of the first poll
        task = asyncio.create_task(_hear(consumer, feed))
        yield
    finally:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await consumer.stop()


async def _hear(consumer: AIOKafkaConsumer, feed: EventFeed) -> None:
    while True:
        try:
            batches = await consumer.getmany(timeout_ms=_POLL_MS)
            for where, records in batches.items():
                at_end = records[-1].offset + 1 >= (consumer.highwater(where) or 0)
                feed.take(where.partition, ((record.key, record.value) for record in records), at_end=at_end)
        except KafkaError as error:
            _log.warning("Kafka does not give events, asking again", error=type(error).__name__)
            await asyncio.sleep(_AGAIN_AFTER_S)
