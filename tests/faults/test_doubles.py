"""The doubles behave as the real servers do: the same questions, the same answers."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Protocol
from unittest.mock import patch

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, NoOffsetForPartitionError
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoReply

from allocation_core import store as scripts
from allocation_core.store import BatchedCommand, Refusal, SlotStore
from services.allocator import kafka as allocator_kafka
from services.allocator.kafka import Publisher, TailReader
from services.allocator.owner import LogUnavailable
from services.allocator.records import OutRecord
from services.settings import Settings
from services.stack.ports import LOOPBACK
from tests.campaign.proxy import Proxy, acknowledgements, everything, nothing
from tests.campaign.servers import one_broker
from tests.core.commands import make_command
from tests.faults.kafka_double import GroupConsumer, Listener, Producer, TailConsumer
from tests.faults.real_redis import COPY, RESTORE
from tests.faults.redis_double import SlotStoreDouble
from tests.faults.schedule import SETTINGS
from tests.faults.world import Allocator, World
from tests.integration.running import create_topics
from tests.services.memory import NOON_MS

Told = list[Any]


REPLY_WITHIN_S = 3.0


@contextmanager
def befalls(world: World, fault: str, what: str) -> Iterator[None]:
    """Let a fault befall the next question of a kind."""
    faults = [fault]

    def pick(asked: str, **_: object) -> str:
        return faults.pop() if faults and asked.startswith(what) else ""

    with patch.object(world, "_pick", pick):
        yield
    assert not faults


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
    async def copy(self) -> None: ...
    async def bring_the_copy_back(self) -> None: ...
    def replies_lost(self) -> AbstractContextManager[None]: ...


class RealStore:
    def __init__(self, redis: Any, proxy: Proxy) -> None:
        self._redis = redis
        self._proxy = proxy
        self._copy: list[bytes] = []
        self.slots = SlotStore(redis, 0)

    async def break_off(self) -> None:
        await self._redis.hset("opd{0}", "half", "1")

    async def flush(self) -> None:
        await self._redis.flushall()

    async def late(self, generation: int, step: str) -> None:
        keys = ["opd{0}:o"] if step == "delete" else []
        await self.slots._call(scripts._CLEAR, generation, "an older clearing", step, *keys)

    async def copy(self) -> None:
        self._copy = await self._redis.eval(COPY, 0)

    async def bring_the_copy_back(self) -> None:
        await self._redis.eval(RESTORE, 0, *self._copy)

    @contextmanager
    def replies_lost(self) -> Iterator[None]:
        self._proxy.swallows = everything
        try:
            yield
        finally:
            self._proxy.swallows = nothing


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

    async def copy(self) -> None:
        self._copied = list(self._world.redis.partitions)

    async def bring_the_copy_back(self) -> None:
        self._world.redis.partitions[:] = self._copied

    def replies_lost(self) -> AbstractContextManager[None]:
        return befalls(self._world, "reply lost", "decide")


def _commands(first: int) -> list[BatchedCommand]:
    schedule = [{"slot": "13:00-14:00", "capacity": 1}]
    doctor: dict[str, Any] = {"doctor_id": "a", "name": "A", "schedule": schedule}
    request: dict[str, Any] = {"date": "2026-11-23", "slot": "13:00-14:00", "source": "EMERGENCY"}
    return [
        BatchedCommand(
            offset,
            NOON_MS,
            b"f/d",
            make_command(kind, f"c{offset}", {"facility_id": "f", "department_id": "d", **data}),
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
        except NoReply:
            told.append("no reply")

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
    await store.copy()
    with store.replies_lost():
        await decide(4, 2, 0, 3, 5)
    await decide(4, 2, 0, 3, 5)
    await ask(store.slots.check(generation=4, expected=5))
    await outcomes(4, 5, 0, 3)
    await ask(store.slots.fence(6))
    await store.bring_the_copy_back()
    await ask(store.slots.check(generation=6, expected=5))
    await ask(store.slots.check(generation=4, expected=5))
    await decide(4, 2, 0, 6, 8)
    await outcomes(4, 8, 0, 3, 6)
    await store.flush()
    await decide(4, 2, 0, 3, 5)
    await ask(store.slots.fence(3))
    return told


def test_the_slot_store(every_redis: str) -> None:
    async def of_the_real_one() -> Told:
        with Proxy(int(every_redis.rpartition(":")[2].removesuffix("/0"))) as proxy:
            url = f"redis://{LOOPBACK}:{proxy.port}/0"
            async with Redis.from_url(url, socket_timeout=REPLY_WITHIN_S, retry=None) as redis:
                return await _ask_of_the_store(RealStore(redis, proxy))

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


# Kafka's producers, as the allocator uses them


class Sending(Protocol):
    """An owner that loses its partition, the next one, and what comes between the first and Kafka."""

    events: TopicPartition
    first: Publisher
    second: Publisher
    tails: TailReader

    def acknowledgement_lost(self) -> AbstractContextManager[None]: ...
    def send_held_back(self) -> AbstractContextManager[None]: ...


async def _send_and_read(sending: Sending) -> Told:
    told: Told = []

    async def tail() -> list[bytes | None]:
        bounds = await sending.tails.bounds(sending.events)
        return [record.value for record in await sending.tails.read(sending.events, bounds.first, bounds.end)]

    async def send(publisher: Publisher, *values: bytes) -> None:
        try:
            await publisher.send(sending.events.topic, 0, [OutRecord(b"k", value, []) for value in values])
        except LogUnavailable:
            told.append("not acknowledged")

    async def until_there_are(count: int) -> None:
        async with asyncio.timeout(60):
            while len(found := await tail()) < count:  # noqa: ASYNC110  Kafka tells nobody
                await asyncio.sleep(0.1)
        told.append(found)

    await send(sending.first, b"a", b"b")
    await until_there_are(2)
    with sending.acknowledgement_lost():
        await send(sending.first, b"c")
    await send(sending.first, b"d")
    await until_there_are(4)
    with sending.send_held_back():
        await send(sending.first, b"held")
        told.append(await tail())  # this is what the next owner reads
        await send(sending.second, b"newer")
        told.append(await tail())
    await until_there_are(6)
    await send(sending.first, b"e")
    await until_there_are(7)
    return told


class DoubledSending:
    def __init__(self, world: World) -> None:
        self._world = world
        self.events = TopicPartition(world.settings.events_topic, 0)
        self.first, self.second = Publisher(world.settings), Publisher(world.settings)
        self.tails = TailReader(world.settings)

    def acknowledgement_lost(self) -> AbstractContextManager[None]:
        return befalls(self._world, "reply lost", "send")

    @contextmanager
    def send_held_back(self) -> Iterator[None]:
        with befalls(self._world, "lands late", "send"), patch.object(self._world, "rng", AsLateAsCanBe()):
            yield


class AsLateAsCanBe(Random):
    """Lets the one who asks give up at once, and what it asked arrive at last; nothing else happens."""

    def uniform(self, a: float, b: float) -> float:
        return b if a else a

    def random(self) -> float:
        return 0.9


class RealSending:
    def __init__(self, settings: Settings, proxied: Settings, proxy: Proxy) -> None:
        self._proxy = proxy
        self.events = TopicPartition(settings.events_topic, 0)
        self.first, self.second = Publisher(proxied), Publisher(settings)
        self.tails = TailReader(settings)

    @contextmanager
    def acknowledgement_lost(self) -> Iterator[None]:
        self._proxy.swallows = acknowledgements
        try:
            yield
        finally:
            self._proxy.swallows = nothing

    @contextmanager
    def send_held_back(self) -> Iterator[None]:
        self._proxy.hold()
        try:
            yield
        finally:
            self._proxy.release()


def test_the_producers(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator_kafka, "ANSWER_WITHIN_S", REPLY_WITHIN_S)

    async def of_the_real_ones() -> Told:
        sending = RealSending(own, own.model_copy(update={"kafka_bootstrap_servers": kafka.proxied}), proxy)
        await sending.tails.start()
        try:
            return await _send_and_read(sending)
        finally:
            for each in (sending.tails, sending.first, sending.second):
                await each.stop()

    async def of_the_doubles(world: World) -> Told:
        allocator = Allocator(world, 1)
        world.allocators.append(allocator)
        world.fenced_at_s[allocator.process, 0] = 0.0
        monkeypatch.setattr(allocator_kafka, "AIOKafkaConsumer", lambda **_: TailConsumer(world))
        monkeypatch.setattr(allocator_kafka, "AIOKafkaProducer", lambda **_: Producer(world, allocator.process))
        return await world.loop.spawn(allocator.process, _send_and_read(DoubledSending(world)))

    with one_broker(tmp_path) as kafka:
        assert kafka.proxy is not None
        proxy = kafka.proxy
        own = settings.model_copy(update={"kafka_bootstrap_servers": kafka.address})
        create_topics(own, partitions=1)
        told = asyncio.run(of_the_real_ones())
    assert told.count("not acknowledged") == 2
    assert in_a_world(of_the_doubles) == told
