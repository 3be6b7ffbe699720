"""Follows the events topic into the outbox: each event once."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas.events import AnyEvent, UnreadableEvent
from schemas.follow import Contradiction, Follower, Gap
from services.kafka import kafka_client
from services.notifier import outbox
from services.notifier.metrics import NotifierMetrics
from services.notifier.notices import notices_of
from services.record_batches import read_any_batch
from services.settings import Settings

_log = structlog.stdlib.get_logger(__name__)

_RECORDS = 2000
_POLL_MS = 200


class Reader:
    """All partitions of the events topic."""

    def __init__(self, settings: Settings, partitions: int, metrics: NotifierMetrics, new: asyncio.Event) -> None:
        """`new` is set whenever there are new messages."""
        self._settings = settings
        self._partitions = partitions
        self._metrics = metrics
        self._new = new

    async def run(self, connection: asyncpg.Connection, stopping: asyncio.Event) -> None:
        """Follow the topic until told to stop.

        Raises:
            OtherTopic: the outbox is of another topic.
            Overtaken: somebody else moved a position.
        """
        places = await outbox.load(connection, self._settings.events_topic, self._partitions)
        read_any_batch()
        consumer = AIOKafkaConsumer(**kafka_client(self._settings), enable_auto_commit=False, auto_offset_reset="none")
        try:
            await consumer.start()
            await _stand(consumer, self._settings.events_topic, places)
            while not stopping.is_set():
                fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS)
                for where, records in fetched.items():
                    place = places[where.partition]
                    await self._take(connection, where.partition, place, records)
                    places[where.partition] = place._replace(next_offset=records[-1].offset + 1)
                for where in consumer.assignment():
                    behind = (consumer.highwater(where) or 0) - places[where.partition].next_offset
                    self._metrics.lag.labels(where.partition).set(max(0, behind))
        finally:
            await consumer.stop()

    async def _take(
        self,
        connection: asyncpg.Connection,
        partition: int,
        place: outbox.Place,
        records: Sequence[ConsumerRecord[bytes, bytes]],
    ) -> None:
        events = [event for record in records if (event := _event(place.follower, record, partition)) is not None]
        notices = notices_of(events)
        for token_id, message in list(notices.messages.items()):
            if datetime.fromisoformat(message.said_at) < place.since:
                del notices.messages[token_id]
        soon_before = self._settings.notifier_soon_before
        for session, (_, _, said_at) in list(notices.called.items()):
            if datetime.fromisoformat(said_at) < place.since:
                del notices.called[session]
        last = place.follower.state()["departments"]
        departments = {f"{event.data.facility_id}/{event.data.department_id}" for event in events}
        new = await outbox.take(
            connection,
            partition,
            (place.next_offset, records[-1].offset + 1),
            [(name, last[name]) for name in departments],
            notices,
            soon_before=soon_before,
        )
        if new:
            self._metrics.new.inc(new)
            self._new.set()


async def _stand(consumer: AIOKafkaConsumer, topic: str, places: Mapping[int, outbox.Place]) -> None:
    where = {TopicPartition(topic, number): place for number, place in places.items()}
    consumer.assign(list(where))
    begin, end = await consumer.beginning_offsets(list(where)), await consumer.end_offsets(list(where))
    for partition, place in where.items():
        if not begin[partition] <= place.next_offset <= end[partition]:
            raise outbox.OtherTopic(
                f"{topic}[{partition.partition}] goes from {begin[partition]} to {end[partition]}, and the outbox "
                f"wants to go on at {place.next_offset}\ntry: another OPD_NOTIFIER_SCHEMA, if this is a new Kafka"
            )
        consumer.seek(partition, place.next_offset)


def _event(follower: Follower, record: ConsumerRecord[bytes, bytes], partition: int) -> AnyEvent | None:
    """Give the event of a record; none if it stood there before, or is none."""
    try:
        try:
            return follower.take(record.key, record.value)
        except Gap as gap:
            _log.error("events were missed", partition=partition, offset=record.offset)
            follower.skip_to(gap)
            return follower.take(record.key, record.value)
    except (UnreadableEvent, Contradiction) as error:
        _log.error("no event", partition=partition, offset=record.offset, fault=str(error))
        return None
