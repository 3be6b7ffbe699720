"""The Kafka side of an owner: its partition of the commands topic, the tails of its answers, its sends."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import lru_cache

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

from services.allocator.feed import CommandFeed
from services.allocator.owner import LogBounds, LogUnavailable, TooLarge
from services.allocator.records import NOWHERE, CommandRecord, EventPlace, OutRecord, dead_letter_source, event_place
from services.kafka import kafka_client
from services.record_batches import read_any_batch
from services.settings import Settings

# In flight is one record batch of events, or one fetched batch of dead letters, for each owner that lost the partition;
# some 2,000 events. The tails that the marks are read from are several times as long, and no longer: to read them is
# most of what taking a partition takes. Were one too short for once, events would be said again, never left out.
# A dead letter may have a megabyte.
TAIL_RECORDS = 8_000
TAIL_DEAD_LETTERS = 5_000
EVENTS_A_SEND_BYTES = 900_000
ANSWER_WITHIN_S = 30.0


@contextlib.asynccontextmanager
async def _kafka_answers() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            yield
    except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
        raise TooLarge("Kafka: a record is too large") from error
    except (KafkaError, TimeoutError) as error:
        raise LogUnavailable(f"Kafka: {type(error).__name__} {error}".strip()) from error


def partitioner(partitions: int) -> Callable[[bytes], int]:
    """Give Kafka's default partitioner for a topic of so many partitions: murmur2 of the key."""

    @lru_cache(maxsize=65_536)
    def partition_of(key: bytes) -> int:
        number: int = (murmur2(key) & 0x7FFFFFFF) % partitions
        return number

    return partition_of


class TailReader:
    """Reads records at known places of any topic, beside the group."""

    def __init__(self, settings: Settings) -> None:
        read_any_batch()
        self._consumer = AIOKafkaConsumer(
            **kafka_client(settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # The broker answers one request of a connection after the other: a fetch that waits there for records to
            # come holds up the question where the log ends.
            fetch_max_wait_ms=1,
        )
        self._topics: set[str] = set()
        self._one_at_a_time = asyncio.Lock()
        self._one_learns_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        """Connect."""
        await self._consumer.start()
        await asyncio.sleep(0)  # aiokafka's own tasks begin: a consumer stopped before that fails

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def bounds(self, place: TopicPartition) -> LogBounds:
        """Give the first offset that a partition still holds, and the next that will be written."""
        async with _kafka_answers():
            await self._know(place.topic)
            first = await self._consumer.beginning_offsets([place])
            end = await self._consumer.end_offsets([place])
        return LogBounds(first[place], end[place])

    async def ends(self, places: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Give the next offset that will be written to each of these partitions."""
        async with _kafka_answers():
            ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(list(places))
        return ends

    async def read(self, place: TopicPartition, start: int, end: int) -> list[ConsumerRecord[bytes, bytes]]:
        """Give the records from one offset to before another, past gaps and transaction markers."""
        return [record async for record in self._scan(place, start, end)]

    async def tail(self, place: TopicPartition, records: int) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
        """Give a partition's last records one by one: all of them may be more than memory holds."""
        bounds = await self.bounds(place)
        async for record in self._scan(place, max(bounds.first, bounds.end - records), bounds.end):
            yield record

    async def _scan(self, place: TopicPartition, start: int, end: int) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
        async with self._one_at_a_time:
            self._consumer.assign([place])
            for topic in self._topics:  # aiokafka has just forgotten all others
                self._add(topic)
            try:
                self._consumer.seek(place, start)
                while records := await self._fetch(place, end):
                    for record in records:
                        yield record
            finally:
                self._consumer.pause(place)

    async def _know(self, topic: str) -> None:
        """Learn where a topic is: asked for the ends of one that it does not know, aiokafka waits 100 ms."""
        async with self._one_learns_at_a_time:
            if topic not in self._topics:
                self._topics.add(topic)
                await self._add(topic)  # may be what was asked for before
                await self._consumer._client.force_metadata_update()  # noqa: SLF001  likewise

    def _add(self, topic: str) -> Awaitable[object]:
        added: Awaitable[object] = self._consumer._client.add_topic(topic)  # noqa: SLF001  it has no other way in
        return added

    async def _fetch(self, place: TopicPartition, end: int) -> list[ConsumerRecord[bytes, bytes]]:
        """Give the next records before an offset; none when it is reached."""
        async with _kafka_answers():
            while await self._consumer.position(place) < end:
                batches = await self._consumer.getmany(place, timeout_ms=100)
                if records := [record for record in batches.get(place, ()) if record.offset < end]:
                    return records
        return []


class Publisher:
    """One idempotent producer at a time; a send that failed is never followed by another on the same one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._one_at_a_time = asyncio.Lock()

    async def send(self, topic: str, partition: int, records: Sequence[OutRecord], *, gzip: bool = False) -> None:
        """Append records in order, each record batch acknowledged before the next one is sent.

        Raises:
            TooLarge: the topic does not take a record so large.
            LogUnavailable: a send failed, or was not acknowledged in time; its outcome is unknown.
        """
        producer = await self._current()
        try:
            async with _kafka_answers():
                now_ms = time.time_ns() // 1_000_000  # asked for once; aiokafka would for each record
                batch = _gzipped_batch() if gzip else producer.create_batch()
                for record in records:
                    key, value, headers = record.key, record.value, record.headers
                    if batch.append(key=key, value=value, timestamp=now_ms, headers=headers) is None:
                        await (await producer.send_batch(batch, topic, partition=partition))
                        batch = _gzipped_batch() if gzip else producer.create_batch()
                        batch.append(key=key, value=value, timestamp=now_ms, headers=headers)
                await (await producer.send_batch(batch, topic, partition=partition))
        except TooLarge as error:
            await self._give_up(producer)
            largest = max(map(_size, records))
            raise TooLarge(f"{topic} does not take a record of {largest} bytes: raise its max.message.bytes") from error
        except LogUnavailable:
            await self._give_up(producer)
            raise

    async def stop(self) -> None:
        """Close the producer, if there is one."""
        if self._producer is not None:
            await self._give_up(self._producer)

    async def _current(self) -> AIOKafkaProducer:
        async with self._one_at_a_time:
            if self._producer is None:
                self._producer = await self._started()
            return self._producer

    async def _started(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **kafka_client(self._settings),
            enable_idempotence=True,
            acks="all",
            max_batch_size=EVENTS_A_SEND_BYTES,
            request_timeout_ms=int(ANSWER_WITHIN_S * 1000),
        )
        try:
            async with _kafka_answers():
                await producer.start()
                producer._sender._in_flight = _NoNode()  # noqa: SLF001  aiokafka has no setting for it
        except LogUnavailable:
            await producer.stop()
            raise
        return producer

    async def _give_up(self, failed: AIOKafkaProducer) -> None:
        if self._producer is None or self._producer is not failed:
            return
        producer, self._producer = self._producer, None
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(1.0):
                await producer.stop()
                return
        # What was never acknowledged keeps it from stopping: its tasks and connections would stay with the process.
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(1.0):
                await producer.client.close()
                await producer._sender.close()  # noqa: SLF001  aiokafka has no harder stop


class _NoNode(set[int]):
    """The brokers that are not to be asked before they answered: none.

    aiokafka sends a broker nothing while it owes an answer, so partitions would wait for each other's. The order
    within a partition does not hang on that: no batch of it is sent before the one before is acknowledged.
    """

    def add(self, node: int) -> None:
        """Keep nothing of it."""

    def remove(self, node: int) -> None:
        """Likewise."""


def _gzipped_batch() -> BatchBuilder:
    return BatchBuilder(EVENTS_A_SEND_BYTES, DefaultRecordBatch.CODEC_GZIP)


def _size(record: OutRecord) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


class KafkaCommandLog:
    """One partition of the commands topic, read by the group's consumer (`owner.CommandLog`)."""

    def __init__(  # noqa: PLR0913  its collaborators
        self,
        consumer: AIOKafkaConsumer,
        place: TopicPartition,
        *,
        feed: CommandFeed,
        tails: TailReader,
        partition_of: Callable[[bytes], int],
        done: Callable[[TopicPartition, int], None],
    ) -> None:
        self._consumer = consumer
        self._place = place
        self._feed = feed
        self._tails = tails
        self._done = done
        self.partition_of = partition_of

    def pause(self) -> None:
        """Fetch nothing until `resume`; a partition that was taken away needs no pause."""
        self._feed.hold(self._place)

    def resume(self) -> None:
        """Fetch again."""
        self._feed.release(self._place)

    def seek(self, offset: int) -> None:
        """Go on at this offset."""
        try:
            self._feed.start_at(self._place, offset)
        except IllegalStateError as error:
            raise LogUnavailable("the partition was taken away") from error

    async def fetch(self, *, most: int, wait_s: float) -> Sequence[CommandRecord]:
        """Give the next records, in order; none when none came in time."""
        try:
            return await self._feed.take(self._place, most=most, wait_s=wait_s)
        except KafkaError as error:
            raise LogUnavailable(f"Kafka: {type(error).__name__} {error}") from error

    async def bounds(self) -> LogBounds:
        """Say how far the log reaches."""
        return await self._tails.bounds(self._place)

    async def record_at(self, offset: int) -> CommandRecord | None:
        """Give one record; None where the log holds none at that offset."""
        records = await self._tails.read(self._place, offset, offset + 1)
        return records[0] if records else None

    async def committed(self) -> int:
        """Give the group's committed offset, 0 where it has none."""
        async with _kafka_answers():
            return await self._consumer.committed(self._place) or 0

    def done(self, offset: int) -> None:
        """Everything below is published: it may be committed."""
        self._done(self._place, offset)


class KafkaAnswers:
    """One partition of the events and dead-letter topics (`owner.Answers`)."""

    def __init__(
        self,
        settings: Settings,
        partition: int,
        *,
        tails: TailReader,
        publisher: Publisher,
        feed: CommandFeed | None = None,
    ) -> None:
        """With a feed, events are said together with those that its other partitions are about to say."""
        self._commands = TopicPartition(settings.commands_topic, partition)
        self._feed = feed
        self._events = TopicPartition(settings.events_topic, partition)
        self._dead_letters = TopicPartition(settings.dead_letters_topic, partition)
        self._partition = partition
        self._tails = tails
        self._publisher = publisher

    async def published(self) -> EventPlace:
        """Read the highest place in the tail: old sends may have landed behind newer ones, so not just the last."""
        highest = NOWHERE
        async for record in self._tails.tail(self._events, TAIL_RECORDS):
            place = event_place(record.value, self._partition)
            if place is not None and place > highest:
                highest = place
        return highest

    async def dead_lettered(self) -> int:
        """Read the highest source offset in the tail."""
        highest = -1
        async for record in self._tails.tail(self._dead_letters, TAIL_DEAD_LETTERS):
            source = dead_letter_source(record.headers)
            if source is not None:
                highest = max(highest, source)
        return highest

    async def publish_events(self, records: Sequence[OutRecord]) -> None:
        """Append events in order."""
        if self._feed is not None:
            await self._feed.others_decided(self._commands, len(records))
        await self._publisher.send(self._events.topic, self._partition, records)

    async def publish_dead_letters(self, records: Sequence[OutRecord]) -> None:
        """Append dead letters in order."""
        # A large one may have come compressed: what fitted the commands topic so would not fit here otherwise.
        large = any(_size(record) > EVENTS_A_SEND_BYTES for record in records)
        await self._publisher.send(self._dead_letters.topic, self._partition, records, gzip=large)
