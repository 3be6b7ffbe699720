"""The doubles behave as the real servers do: the same questions, the same answers."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol
from unittest.mock import patch

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, NoOffsetForPartitionError
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from allocation_core import store as scripts
from allocation_core.store import BatchedCommand, Refusal, SlotStore
from services.allocator import kafka as allocator_kafka
from services.allocator.kafka import TailReader
from services.settings import Settings
from tests.core.commands import make_command
from tests.faults.kafka_double import GroupConsumer, Listener, TailConsumer
from tests.faults.redis_double import SlotStoreDouble
from tests.faults.schedule import SETTINGS
from tests.faults.world import Allocator, World
from tests.integration.running import create_topics
from tests.services.memory import NOON_MS

Told = list[Any]


def in_a_world(play: Callable[[World], Coroutine[Any, Any, Told]]) -> Told:
    """Run something where nothing goes wrong."""
    world = World(0, SETTINGS)
    world.chaos.left = 0
    return world.loop.run(world.process, play(world))


# Redis


class Store(Protocol):
    """A slot store and what its tests do behind its back."""

    slots: SlotStore

    async def break_off(self) -> None: ...
    async def flush(self) -> None: ...
    async def late(self, generation: int, step: str) -> None: ...


class RealStore:
    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self.slots = SlotStore(redis, 0)

    async def break_off(self) -> None:
        await self._redis.hset("opd{0}", "half", "1")

    async def flush(self) -> None:
        await self._redis.flushall()

    async def late(self, generation: int, step: str) -> None:
        keys = ["opd{0}:o"] if step == "delete" else []
        await self.slots._call(scripts._CLEAR, generation, "an older clearing", step, *keys)


class DoubledStore:
    def __init__(self, world: World) -> None:
        self._world = world
        self.slots: SlotStore = SlotStoreDouble(world, 0)

    async def break_off(self) -> None:
        partitions = self._world.redis.partitions
        partitions[0] = partitions[0]._replace(is_half_written=True)

    async def flush(self) -> None:
        self._world.redis.flush()

    async def late(self, generation: int, step: str) -> None:
        server = self._world.redis
        (server.delete if step == "delete" else server.end_clear)(0, generation, -5)


def _commands(first: int) -> list[BatchedCommand]:
    schedule = [{"slot": "13:00-14:00", "capacity": 1}]
    doctor: dict[str, Any] = {"doctor_id": "a", "name": "A", "schedule": schedule}
    request: dict[str, Any] = {"date": "2026-11-23", "slot": "13:00-14:00", "source": "EMERGENCY"}
    return [
        BatchedCommand(
            offset, NOON_MS, make_command(kind, f"c{offset}", {"facility_id": "f", "department_id": "d", **data})
        )
        for offset, (kind, data) in enumerate(
            [("RegisterDoctor", doctor), ("RequestToken", {**request, "patient_id": f"p{first}"})], start=first
        )
    ]


async def _ask_of_the_store(store: Store) -> Told:  # noqa: PLR0915  one story
    told: Told = []

    async def ask(answer: Awaitable[Any]) -> None:
        try:
            told.append(await answer)
        except Refusal as refusal:
            told.append((type(refusal).__name__, refusal.found))
        except ResponseError:
            told.append("an error")

    async def decide(generation: int, expected: int, committed: int, first: int, last: int) -> None:
        batch, digest = _commands(first), b"%d" % last
        await ask(
            store.slots.decide(
                batch, generation=generation, expected=expected, committed=committed, last=last, digest=digest
            )
        )

    async def outcomes(generation: int, expected: int, *offsets: int) -> None:
        wanted = {one.offset: one.command for first in offsets for one in _commands(first)}
        await ask(store.slots.outcomes(wanted, generation=generation, expected=expected))

    await ask(store.slots.check(generation=1, expected=-1))
    await ask(store.slots.fence(2))
    await ask(store.slots.fence(2))
    await ask(store.slots.fence(1))
    await decide(1, -1, 0, 0, 2)
    await decide(3, -1, 0, 0, 2)
    await decide(2, 0, 0, 0, 2)
    await decide(2, -1, 0, 0, 0)
    await decide(2, -1, 0, 0, 2)
    await decide(2, -1, 0, 0, 2)
    await ask(store.slots.check(generation=2, expected=2))
    await ask(store.slots.check(generation=2, expected=1))
    await decide(2, 2, 2, 3, 5)
    await outcomes(2, 5, 0, 3)
    await decide(2, 5, 3, 6, 7)
    await outcomes(2, 7, 0, 3, 6)
    await outcomes(2, 7, 0)
    await outcomes(2, 5, 3)
    await ask(store.slots.fence(4))
    await outcomes(2, 7, 3)
    await decide(2, 7, 0, 8, 9)
    await ask(store.late(4, "delete"))
    await ask(store.late(4, "end"))
    await ask(store.late(3, "end"))
    await ask(store.late(5, "delete"))
    await outcomes(4, 7, 3, 6)
    await store.break_off()
    await decide(4, 7, 0, 8, 9)
    await ask(store.slots.check(generation=4, expected=7))
    await ask(store.slots.check(generation=3, expected=7))
    await ask(store.slots.fence(4))
    await ask(store.slots.clear(3))
    await ask(store.slots.clear(4))
    await ask(store.slots.fence(4))
    await ask(store.slots.check(generation=4, expected=-1))
    await decide(4, -1, 0, 0, 2)
    await store.flush()
    await decide(4, 2, 0, 3, 5)
    await ask(store.slots.fence(3))
    return told


def test_the_slot_store(every_redis: str) -> None:
    async def of_the_real_one() -> Told:
        async with Redis.from_url(every_redis) as redis:
            return await _ask_of_the_store(RealStore(redis))

    async def of_the_double(world: World) -> Told:
        return await _ask_of_the_store(DoubledStore(world))

    assert in_a_world(of_the_double) == asyncio.run(of_the_real_one())


# Kafka


class Joined(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka carries no types
    """Notes what a member is given; pauses it first, as the allocator does."""

    def __init__(self, consumer: Callable[[], Any]) -> None:
        self._consumer = consumer
        self.generations: list[int] = []
        self.given: set[TopicPartition] = set()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        pass

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._consumer().pause(*assigned)
        self.given = assigned
        self.generations.append(self._consumer()._coordinator.generation)


class Kafka(Protocol):
    """Brings members into the group and records into the topics."""

    commands_topic: str

    async def member(self) -> tuple[Any, Joined]: ...
    async def append(self, topic: str, *values: bytes, marker: bool = False) -> None: ...
    async def read_tail(self, place: TopicPartition) -> tuple[int, list[tuple[int, bytes]]]: ...


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  aiokafka tells nobody
            await asyncio.sleep(0.02)


async def _ask_of_kafka(kafka: Kafka) -> Told:
    told: Told = []
    places = [TopicPartition(kafka.commands_topic, number) for number in range(2)]
    first, joined = await kafka.member()
    await _until(lambda: len(joined.given) == 2)
    told.append(await first.committed(places[0]))
    await kafka.append(kafka.commands_topic, b"0", b"1")
    await kafka.append(kafka.commands_topic, b"2", b"4", marker=True)
    with pytest.raises(NoOffsetForPartitionError):
        await first.getmany(places[0], timeout_ms=20_000, max_records=9)
    first.seek(places[0], 1)
    told.append(await first.getmany(places[0], timeout_ms=300, max_records=9))
    first.resume(places[0])
    records: list[Any] = []
    async with asyncio.timeout(20):
        while len(records) < 3:
            records += (await first.getmany(places[0], timeout_ms=300, max_records=9)).get(places[0], [])
    told.append([(record.offset, record.value) for record in records])
    await first.commit({places[0]: 3})
    told.append(await first.committed(places[0]))

    second, also_joined = await kafka.member()
    await _until(lambda: len(joined.given) == len(also_joined.given) == 1)
    told.append(joined.generations[-1] == also_joined.generations[-1] > joined.generations[0])
    (own,) = joined.given
    (other,) = also_joined.given
    told.append(sorted((own, other)) == places)
    for ask, *arguments in ((first.seek, other, 0), (first.pause, other), (first.resume, other)):
        with pytest.raises(IllegalStateError):
            ask(*arguments)
    with pytest.raises(IllegalStateError):
        await first.commit({other: 1})
    await second.commit({other: 2})
    told.append(await first.committed(other))
    first._coordinator.generation = joined.generations[0]
    with pytest.raises(CommitFailedError):
        await first.commit({own: 7})
    told.append(await second.committed(own) != 7)
    told.append(await kafka.read_tail(places[0]))
    return told


class DoubledKafka:
    def __init__(self, world: World) -> None:
        self._world = world
        self.commands_topic = world.settings.commands_topic
        world.loop.spawn(world.process, self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self._world.broker.group.tick()

    async def member(self) -> tuple[GroupConsumer, Joined]:
        allocator = Allocator(self._world, 0)
        joined = Joined(lambda: allocator.consumer)
        listener: Listener = joined
        self._world.loop.spawn(allocator.process, allocator.consumer.membership(listener))
        return allocator.consumer, joined

    async def append(self, topic: str, *values: bytes, marker: bool = False) -> None:
        log = self._world.broker.log_of(TopicPartition(topic, 0))
        for value in values:
            log.append(None, value, ())
            if marker:
                log.leave_gap()

    async def read_tail(self, place: TopicPartition) -> tuple[int, list[tuple[int, bytes]]]:
        with patch.object(allocator_kafka, "AIOKafkaConsumer", lambda **_: TailConsumer(self._world)):
            tails = TailReader(self._world.settings)
        bounds = await tails.bounds(place)
        read = await tails.read(place, bounds.first, bounds.end)
        return bounds.end, [(record.offset, record.value or b"") for record in read]


class RealKafka:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.commands_topic = settings.commands_topic
        self._consumers: list[AIOKafkaConsumer] = []

    async def member(self) -> tuple[AIOKafkaConsumer, Joined]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            group_id=self._settings.consumer_group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            heartbeat_interval_ms=100,
            fetch_max_wait_ms=50,
        )
        self._consumers.append(consumer)
        joined = Joined(lambda: consumer)
        consumer.subscribe([self.commands_topic], listener=joined)
        await consumer.start()
        return consumer, joined

    async def append(self, topic: str, *values: bytes, marker: bool = False) -> None:
        """Append; a transaction's marker uses up the offset behind each."""
        async with AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            transactional_id=f"{topic}.marker" if marker else None,
        ) as producer:
            for value in values:
                if not marker:
                    await producer.send_and_wait(topic, value, partition=0)
                    continue
                async with producer.transaction():
                    await producer.send_and_wait(topic, value, partition=0)

    async def read_tail(self, place: TopicPartition) -> tuple[int, list[tuple[int, bytes]]]:
        tails = TailReader(self._settings)
        await tails.start()
        try:
            bounds = await tails.bounds(place)
            read = await tails.read(place, bounds.first, bounds.end)
        finally:
            await tails.stop()
        return bounds.end, [(record.offset, record.value or b"") for record in read]

    async def close(self) -> None:
        for consumer in self._consumers:
            await consumer.stop()


def test_the_group_its_consumer_and_the_reader_of_tails(settings: Settings) -> None:
    create_topics(settings, partitions=2)

    async def of_the_real_one() -> Told:
        kafka = RealKafka(settings)
        try:
            return await _ask_of_kafka(kafka)
        finally:
            await kafka.close()

    async def of_the_double(world: World) -> Told:
        return await _ask_of_kafka(DoubledKafka(world))

    assert in_a_world(of_the_double) == asyncio.run(of_the_real_one())
