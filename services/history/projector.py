"""Follows the events topic into PostgreSQL: each event once, whatever fails in between."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import TYPE_CHECKING

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.history.metrics import HistoryMetrics
from services.history.partition import Partition, digest
from services.history.postgres import LOST, connect, is_the_only_one, pause
from services.history.rows import Read, Rows, read_quickly
from services.history.store import Batch, OtherLog, Overtaken, load, write
from services.kafka import kafka_client
from services.record_batches import read_any_batch
from services.settings import Settings

if TYPE_CHECKING:
    from services.telemetry.spans import Spans

_log = structlog.stdlib.get_logger(__name__)

_RECORDS = 10_000
_RECORDS_AT_A_TIME = 50
_POLL_MS = 200
_BEGIN_APART_S = 0.005
_FETCH_BYTES = 4 * 1024 * 1024
_LAST_RECORD_WITHIN_S = 30
_CLOSES_WITHIN_S = 5


class State(StrEnum):
    """What a projector does."""

    STARTING = "starting"
    STANDBY = "standby: another one is at work"
    WORKING = "working"
    STOPPED = "stopped"


class Projector:
    """All partitions of the events topic, in one schema of one PostgreSQL.

    Of several on one schema one works, and the others stand by. That each event counts once does not hang on it: the
    position is compared and set in the transaction of the rows.

    Attributes:
        state: what it does now.
        positions: by partition, the offset in the events topic up to which all is kept.
    """

    def __init__(  # noqa: PLR0913  what it works with, and what is asked of it
        self,
        settings: Settings,
        partitions: int,
        metrics: HistoryMetrics,
        spans: "Spans | None" = None,
        *,
        ends: Mapping[int, int] | None = None,
        read: Read = read_quickly,
    ) -> None:
        """With `ends`, no record at or behind these offsets of each partition is taken; events are read by `read`."""
        self._ends, self._read = ends, read
        self.state = State.STARTING
        self.positions: dict[int, int] = {}
        self._settings = settings
        self._partitions = partitions
        self._metrics = metrics
        self._spans = spans
        metrics.working.set_function(lambda: self.state is State.WORKING)
        for partition in range(partitions):  # a series that begins with its first fault would hide it from `increase`
            metrics.faults.labels(partition)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Finish the batch in flight, then let `run` return."""
        self._stopping.set()

    async def run(self, *, until: Callable[[Mapping[int, int]], bool] = lambda _: False) -> None:
        """Follow the topic until `stop`, or until the positions are where they are wanted.

        Raises:
            OtherLog: PostgreSQL and Kafka do not belong together.
        """
        while not self._stopping.is_set():
            try:
                async with AsyncExitStack() as cleanup:
                    await self._follow(cleanup, until)
            except Overtaken:
                _log.info("the position was moved by another one, reading it again")
            except (*LOST, KafkaError) as error:
                # Their own texts may quote rows, patients and all.
                _log.warning("a server failed, beginning again at the position kept", error=type(error).__name__)
                self._metrics.restarts.inc()
            else:
                break
            self.state = State.STARTING
            await pause(self._stopping)
        self.state = State.STOPPED

    async def _follow(self, cleanup: AsyncExitStack, until: Callable[[Mapping[int, int]], bool]) -> None:
        connection = await connect(self._settings.postgres_url, self._settings.history_schema)
        cleanup.push_async_callback(_close, connection)
        # What a crash of PostgreSQL takes is taken whole, position and all, and comes again from the topic.
        await connection.execute("SET synchronous_commit = off")
        name = f"{self._settings.history_schema}: projector"
        if not await is_the_only_one(connection, name, self._stopping, standing_by=self._stand_by):
            return
        partitions = await load(connection, self._settings.events_topic, self._partitions, self._read)
        consumer = await self._consumer(cleanup)
        await self._find_places(consumer, partitions)
        self.positions = {partition.number: partition.position.next_offset for partition in partitions}
        self.state = State.WORKING
        _log.info("following the events topic", topic=self._settings.events_topic, positions=self.positions)
        await self._take_batches(consumer, connection, {each.number: each for each in partitions}, until)

    def _stand_by(self) -> None:
        self.state = State.STANDBY

    async def _consumer(self, cleanup: AsyncExitStack) -> AIOKafkaConsumer:
        """Give a consumer that belongs to no group: where to go on stands in PostgreSQL."""
        read_any_batch()
        consumer = AIOKafkaConsumer(
            **kafka_client(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
        cleanup.push_async_callback(consumer.stop)
        await consumer.start()
        return consumer

    async def _find_places(self, consumer: AIOKafkaConsumer, partitions: list[Partition]) -> None:
        """Stand behind the last record kept of each partition, which must be the one that is there."""
        topic = self._settings.events_topic
        places = {TopicPartition(topic, each.number): each for each in partitions}
        consumer.assign(list(places))
        begin, end = await consumer.beginning_offsets(list(places)), await consumer.end_offsets(list(places))
        for place, partition in places.items():
            offset = partition.position.next_offset
            if not begin[place] <= offset <= end[place]:
                text = f"goes from {begin[place]} to {end[place]}, and PostgreSQL wants to go on at {offset}"
                raise OtherLog(f"{topic}[{place.partition}] {text}")
            consumer.seek(place, offset)
        for place, partition in places.items():
            if partition.position.last_digest is not None and partition.position.next_offset > begin[place]:
                await self._check_last_record(consumer, place, partition)

    async def _check_last_record(self, consumer: AIOKafkaConsumer, place: TopicPartition, partition: Partition) -> None:
        offset = partition.position.next_offset - 1
        consumer.seek(place, offset)
        async with asyncio.timeout(_LAST_RECORD_WITHIN_S):
            record = await consumer.getone(place)
        if record.offset != offset or digest(record) != partition.position.last_digest:
            raise OtherLog(f"the record {place.topic}[{place.partition}]@{offset} is another one than was kept")
        consumer.seek(place, partition.position.next_offset)

    async def _take_batches(
        self,
        consumer: AIOKafkaConsumer,
        connection: asyncpg.Connection,
        partitions: Mapping[int, Partition],
        until: Callable[[Mapping[int, int]], bool],
    ) -> None:
        """Make the rows of a batch while PostgreSQL writes the one before it.

        What comes alone is written at once. What comes soon after waits a moment for more: a transaction costs as much
        as dozens of events in it.
        """
        writing: asyncio.Task[None] | None = None
        not_before = time.monotonic()
        try:
            while not self._stopping.is_set() and not until(self.positions):
                await asyncio.sleep(not_before - time.monotonic())
                fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS)
                began = time.monotonic()
                batch = await self._batch({partitions[place.partition]: records for place, records in fetched.items()})
                if writing is not None:
                    await writing
                    writing = None
                if batch.moved:
                    not_before = began + _BEGIN_APART_S
                    writing = asyncio.create_task(self._write(connection, batch))
                self._tell_lag(consumer)
        finally:
            if writing is not None:
                await writing

    async def _batch(self, fetched: Mapping[Partition, list[ConsumerRecord[bytes, bytes]]]) -> Batch:
        batch = Batch(Rows(), [], {})
        for partition, fetched_records in fetched.items():
            records = self._before_the_end(partition.number, fetched_records)
            if not records:
                continue
            before, repeats = partition.position.next_offset, partition.repeats
            for first in range(0, len(records), _RECORDS_AT_A_TIME):
                partition.take(records[first : first + _RECORDS_AT_A_TIME], batch.rows)
                await asyncio.sleep(0)  # lest PostgreSQL wait for its next statement
            batch.departments.extend(partition.departments())
            batch.moved[partition.number] = (before, partition.position)
            self._metrics.repeats.labels(partition.number).inc(partition.repeats - repeats)
        for partition, offset, fault in batch.rows.faults:
            self._metrics.faults.labels(partition).inc()
            _log.error("not as it must be in the events topic", partition=partition, offset=offset, fault=fault)
        return batch

    def _before_the_end(
        self, partition: int, records: list[ConsumerRecord[bytes, bytes]]
    ) -> list[ConsumerRecord[bytes, bytes]]:
        if self._ends is None or records[-1].offset < self._ends[partition]:
            return records
        return [record for record in records if record.offset < self._ends[partition]]

    async def _write(self, connection: asyncpg.Connection, batch: Batch) -> None:
        started, began_ns = time.monotonic(), time.time_ns()
        written = await write(connection, self._settings.history_schema, batch)
        self._metrics.write.observe(time.monotonic() - started)
        for table, count in written.items():
            self._metrics.rows.labels(table).inc(count)
        self._metrics.batch.observe(sum(position.next_offset - before for before, position in batch.moved.values()))
        for place in batch.rows.positions():
            self._metrics.position.observe(place)
        if self._spans is not None:
            for event_id, kind, traceparent in batch.rows.followed():
                self._spans.span(f"keep {kind}", traceparent, began_ns, {"opd.event_id": event_id})
        for number, (_, position) in batch.moved.items():
            self.positions[number] = position.next_offset

    def _tell_lag(self, consumer: AIOKafkaConsumer) -> None:
        for number, offset in self.positions.items():
            end = consumer.highwater(TopicPartition(self._settings.events_topic, number))
            if end is not None:
                self._metrics.lag.labels(number).set(max(0, end - offset))


async def _close(connection: asyncpg.Connection) -> None:
    """Take leave, if there is still somebody to take leave of."""
    try:
        await connection.close(timeout=_CLOSES_WITHIN_S)
    except LOST:
        connection.terminate()
