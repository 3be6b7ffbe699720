"""Topics as the benchmark needs them, and short ways to what stands in them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.workload import Sent
from schemas import topics as contract
from services.settings import Settings

BATCH_BYTES = 900_000
LINGER_MS = 5
SENDS_AT_ONCE = 10_000
# Commands keep the timestamps that they are sent with, lest a run depend on its day (R3); events get the broker's.
COMMANDS_CONFIG = {**contract.COMMANDS.config, "message.timestamp.type": "CreateTime"}
EVENTS_CONFIG = {**contract.EVENTS.config, "message.timestamp.type": "LogAppendTime"}
DEAD_LETTERS_CONFIG = contract.DEAD_LETTERS.config


class Appended(NamedTuple):
    """A record of the events topic: its value, and when the broker appended it."""

    value: bytes
    timestamp_ms: int


@asynccontextmanager
async def admin_of(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An administrator's client."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def create_topics(settings: Settings, configs: Mapping[str, Mapping[str, str]], partitions: int) -> None:
    """Create topics by name."""
    async with admin_of(settings) as admin:
        await admin.create_topics(
            [NewTopic(name, partitions, 1, topic_configs=dict(config)) for name, config in configs.items()]
        )


async def delete_topics(settings: Settings, names: Iterable[str]) -> None:
    """Delete topics, and with them what they take on the disk."""
    async with admin_of(settings) as admin:
        await admin.delete_topics(list(names))


async def preload(settings: Settings, topic: str, commands: Iterable[Sent]) -> None:
    """Append commands in order."""
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        max_batch_size=BATCH_BYTES,
        linger_ms=LINGER_MS,
        enable_idempotence=True,
    ) as producer:
        sends: list[asyncio.Future[Any]] = []
        for key, value, timestamp_ms in commands:
            sends.append(await producer.send(topic, value, key=key, timestamp_ms=timestamp_ms))
            if len(sends) == SENDS_AT_ONCE:
                await asyncio.gather(*sends)
                sends.clear()
        await asyncio.gather(*sends)


async def scan(settings: Settings, topic: str) -> AsyncIterator[tuple[int, Appended]]:
    """Give what is committed of a topic up to where it ends now: partitions, and records in order."""
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:
        places = await partitions_of(consumer, topic)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        consumer.assign(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    yield place.partition, Appended(record.value, record.timestamp)


async def read(settings: Settings, topic: str, partitions: int) -> dict[int, list[Appended]]:
    """Give all of that by partition."""
    found: dict[int, list[Appended]] = {number: [] for number in range(partitions)}
    async for partition, record in scan(settings, topic):
        found[partition].append(record)
    return found


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """Give the partitions of a topic that the consumer is not assigned."""
    await consumer._client.force_metadata_update()  # noqa: SLF001  a consumer knows no topic that it is not assigned
    await consumer._client._wait_on_metadata(topic)  # noqa: SLF001
    return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]


class Marks:
    """How far somebody is, between `async with` and its end: events appended, commands committed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            group_id=settings.consumer_group,
            enable_auto_commit=False,
        )
        self._commands: list[TopicPartition] = []
        self._events: list[TopicPartition] = []

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._commands = await partitions_of(self._consumer, self._settings.commands_topic)
        self._events = await partitions_of(self._consumer, self._settings.events_topic)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def events(self) -> int:
        """How many events were appended; the markers of transactions count too."""
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(self._events)
        return sum(ends.values())

    async def commands(self) -> int:
        """How many commands the group has committed."""
        return sum([await self._consumer.committed(place) or 0 for place in self._commands])
