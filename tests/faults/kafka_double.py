"""Kafka in memory: partition logs, idempotent producers whose acknowledgement may be lost, a consumer group.

The clients have the part of aiokafka's surface that the allocator uses; each call is a question over the network.
"""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaConnectionError,
    NoOffsetForPartitionError,
    RequestTimedOutError,
)

from tests.faults.loop import Process

if TYPE_CHECKING:
    from tests.faults.world import World

SESSION_TIMEOUT_S = 6.0
REBALANCE_TIMEOUT_S = 60.0
HEARTBEAT_S = 1.0
MOST_FETCHED = 50
LOOKS_AGAIN_S = 0.5


class StoredRecord(NamedTuple):
    """A record as aiokafka's consumers give it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def serialized_key_size(self) -> int:
        """How many bytes the key has."""
        return len(self.key or b"")

    @property
    def serialized_value_size(self) -> int:
        """How many bytes the value has."""
        return len(self.value or b"")


class PartitionLog:
    """One partition of a topic."""

    def __init__(self) -> None:
        self.records: list[StoredRecord] = []
        self.end = 0
        self._waiting: list[asyncio.Future[None]] = []

    def append(
        self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]], timestamp_ms: int = 0
    ) -> StoredRecord:
        """Append a record."""
        record = StoredRecord(self.end, timestamp_ms, key, value, tuple(headers))
        self.records.append(record)
        self.end += 1
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()
        return record

    def leave_gap(self) -> None:
        """Use up an offset, as a transaction's marker does."""
        self.end += 1

    def between(self, start: int, end: int, most: int) -> list[StoredRecord]:
        """Give the first records of a range."""
        return [record for record in self.records if start <= record.offset < end][:most]

    def grown(self) -> asyncio.Future[None]:
        """Give what is done when a record came."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future


class Send:
    """One record batch on its way.

    Attributes:
        by: whose it is.
        generation: the group's, as its process knew it.
        was_current: its process was a member of the group's generation when it landed.
        acknowledged: its process knows that it landed.
        fenced_at_s: when its owner asked to be the owner, before it read the marks.
    """

    def __init__(self, by: Process, generation: int, records: Sequence[StoredRecord], fenced_at_s: float) -> None:
        self.by, self.generation, self.records, self.fenced_at_s = by, generation, records, fenced_at_s
        self.was_current = False
        self.acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_regular(self) -> bool:
        """Whether nothing happened that lets its records stand twice in the log (spec §4)."""
        known = self.acknowledged.done() and not self.acknowledged.cancelled() and not self.acknowledged.exception()
        return known and self.was_current and not self.by.stops


class Broker:
    """The server."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.logs: dict[TopicPartition, PartitionLog] = {}
        self.committed: dict[TopicPartition, int] = {}
        self.group = GroupCoordinator(world, self)

    def log_of(self, place: TopicPartition) -> PartitionLog:
        """Give a partition's log."""
        log = self.logs.get(place)
        if log is None:
            log = self.logs[place] = PartitionLog()
        return log

    def land(self, place: TopicPartition, send: Send) -> None:
        """Append a record batch, all of it at once."""
        send.was_current = self.group.generation_of(send.by) == send.generation == self.group.generation
        log = self.log_of(place)
        for record in send.records:
            self.world.landed(place, log.append(record.key, record.value, record.headers), send)

    def commit(self, by: Process, generation: int, offsets: dict[TopicPartition, int]) -> None:
        """Commit, if the member's generation is the group's."""
        if self.group.generation_of(by) != generation or generation != self.group.generation:
            self.world.reached("commit of an old generation refused")
            raise CommitFailedError
        for place, offset in offsets.items():
            self.world.committing(place, self.committed.get(place, 0), offset)
            self.committed[place] = offset


class Listener(Protocol):
    """aiokafka's listener of rebalances."""

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Let go."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Take."""


class _Member:
    def __init__(self) -> None:
        self.seen_at = asyncio.get_running_loop().time()
        self.generation = -1
        self.must_rejoin = False
        self.joining: asyncio.Future[tuple[int, list[TopicPartition]]] | None = None


class GroupCoordinator:
    """The group: who is in it, and whose is what in which generation."""

    def __init__(self, world: "World", broker: Broker) -> None:
        self.generation = 0
        self._world, self._broker = world, broker
        self._members: dict[Process, _Member] = {}
        self._rebalancing_since: float | None = None

    @property
    def is_stable(self) -> bool:
        """Whether nobody is to join or to leave."""
        return self._rebalancing_since is None and bool(self._members)

    def generation_of(self, process: Process) -> int:
        """Give the generation that a process is a member of; -1 where it is none."""
        member = self._members.get(process)
        return -1 if member is None else member.generation

    def must_rejoin(self, process: Process, generation: int) -> bool:
        """Answer a heartbeat."""
        member = self._members.get(process)
        return member is None or member.must_rejoin or member.generation != generation

    def join(self, process: Process) -> asyncio.Future[tuple[int, list[TopicPartition]]]:
        """Answer once all members have joined."""
        member = self._members.setdefault(process, _Member())
        member.seen_at = asyncio.get_running_loop().time()
        member.joining = asyncio.get_running_loop().create_future()
        joining = member.joining
        if self._rebalancing_since is None:
            self._rebalance(f"{process.name} joins")
        return joining

    def leave(self, process: Process) -> None:
        """Take a member out at its wish."""
        if self._members.pop(process, None) is not None:
            self._rebalance(f"{process.name} leaves")

    def tick(self) -> None:
        """Look whose heartbeat is missing and whether all have joined."""
        now = asyncio.get_running_loop().time()
        for process, member in list(self._members.items()):
            if not process.killed and not process.stopped:
                member.seen_at = now
            elif now - member.seen_at > SESSION_TIMEOUT_S:
                self._drop(process)
                self._rebalance(f"{process.name} was not heard of")
        since = self._rebalancing_since
        if since is None or not self._members:
            return
        missing = [process for process, member in self._members.items() if member.joining is None]
        if missing and now - since < REBALANCE_TIMEOUT_S:
            return
        for process in missing:
            self._drop(process)
        if self._members:
            self._begin_generation()

    def _drop(self, process: Process) -> None:
        joining = self._members.pop(process).joining
        if joining is not None and not joining.done():
            joining.set_result((-1, []))

    def _rebalance(self, why: str) -> None:
        self._world.say("group", f"rebalances: {why}")
        self._rebalancing_since = asyncio.get_running_loop().time()
        for member in self._members.values():
            member.must_rejoin = True

    def _begin_generation(self) -> None:
        self.generation += 1
        self._rebalancing_since = None
        members = list(self._members.items())
        self._world.rng.shuffle(members)
        shares: list[list[TopicPartition]] = [[] for _ in members]
        for number, place in enumerate(self._world.command_places):
            shares[number % len(members)].append(place)
        for (process, member), share in zip(members, shares, strict=True):
            numbers = ", ".join(str(place.partition) for place in share) or "nothing"
            self._world.say("group", f"generation {self.generation}: {numbers} to {process.name}")
            member.generation, member.must_rejoin = self.generation, False
            joining, member.joining = member.joining, None
            if joining is not None and not joining.done():
                joining.set_result((self.generation, share))


class GroupConsumer:
    """A member's consumer, as much of it as the allocator uses."""

    def __init__(self, world: "World", process: Process) -> None:
        self._world, self._broker, self._process = world, world.broker, process
        self._coordinator = SimpleNamespace(generation=-1)
        self._positions: dict[TopicPartition, int | None] = {}
        self._paused: set[TopicPartition] = set()
        self._one_commit_at_a_time = asyncio.Lock()

    @property
    def generation(self) -> int:
        """The generation that this member believes in."""
        generation: int = self._coordinator.generation
        return generation

    async def membership(self, listener: Listener) -> None:
        """Be a member of the group until cancelled."""
        while True:
            await listener.on_partitions_revoked(set(self._positions))
            generation = -1
            while generation == -1:
                generation, share = await self._broker.group.join(self._process)
            self._coordinator.generation = generation
            self._positions = {place: self._broker.committed.get(place) for place in share}
            self._paused = set()
            await listener.on_partitions_assigned(set(share))
            while not self._broker.group.must_rejoin(self._process, generation):  # noqa: ASYNC110  a heartbeat asks
                await asyncio.sleep(HEARTBEAT_S * self._world.rng.random())
            if self._broker.group.generation_of(self._process) != generation:
                self._coordinator.generation = -1

    def pause(self, *places: TopicPartition) -> None:
        self._check_assigned(*places)
        self._paused.update(places)

    def resume(self, *places: TopicPartition) -> None:
        self._check_assigned(*places)
        self._paused.difference_update(places)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._check_assigned(place)
        self._positions[place] = offset

    def _check_assigned(self, *places: TopicPartition) -> None:
        if any(place not in self._positions for place in places) and not self._process.killed:
            raise IllegalStateError("not assigned")

    async def getmany(
        self, *places: TopicPartition, timeout_ms: int, max_records: int | None = None
    ) -> dict[TopicPartition, list[StoredRecord]]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        while True:
            self._check_assigned(*places)
            asked = places or tuple(self._positions)
            behind = {place: position for place in asked if (position := self._behind(place)) is not None}
            if behind:
                found = await self._fetch(behind, max_records or MOST_FETCHED)
                if found:
                    return found
            elif loop.time() >= deadline:
                return {}
            else:
                grown = [self._broker.log_of(place).grown() for place in asked] or [loop.create_future()]
                waits_s = min(deadline - loop.time(), LOOKS_AGAIN_S)
                await asyncio.wait(grown, timeout=waits_s, return_when=asyncio.FIRST_COMPLETED)

    def _behind(self, place: TopicPartition) -> int | None:
        """Give where a partition is to be fetched from; None where nothing is."""
        position = self._positions[place]
        if position is None:
            raise NoOffsetForPartitionError(place)
        return position if place not in self._paused and position < self._broker.log_of(place).end else None

    async def _fetch(self, behind: dict[TopicPartition, int], most: int) -> dict[TopicPartition, list[StoredRecord]]:
        """Fetch; what was sought elsewhere or paused meanwhile is dropped."""
        where = ", ".join(f"{place.partition}: {position}" for place, position in behind.items())
        logs = {place: self._broker.log_of(place) for place in behind}
        fetched = await self._world.ask_kafka(
            f"fetch from {where}",
            lambda: {place: (log.between(behind[place], log.end, most), log.end) for place, log in logs.items()},
        )
        found = {}
        for place, (records, end) in fetched.items():
            if self._positions.get(place) == behind[place] and place not in self._paused:
                self._positions[place] = records[-1].offset + 1 if records else end
                self._world.fetched(place, records)
                found[place] = records
        return found

    async def committed(self, place: TopicPartition) -> int | None:
        return await self._world.ask_kafka("read committed", lambda: self._broker.committed.get(place))

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self._check_assigned(*offsets)
        generation, process, offsets = self.generation, self._process, dict(offsets)
        numbers = ", ".join(f"{place.partition}: {offset}" for place, offset in offsets.items())
        async with self._one_commit_at_a_time:
            await self._world.ask_kafka(f"commit {numbers}", lambda: self._broker.commit(process, generation, offsets))


class TailConsumer:
    """A consumer without a group, for `TailReader`."""

    def __init__(self, world: "World") -> None:
        self._world, self._broker = world, world.broker
        self._places: dict[TopicPartition, int] = {}
        self._client = self  # its topics are known

    def add_topic(self, topic: str) -> asyncio.Future[None]:
        del topic
        return self.force_metadata_update()

    def force_metadata_update(self) -> asyncio.Future[None]:
        updated = asyncio.get_running_loop().create_future()
        updated.set_result(None)
        return updated

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._world.ask_kafka(
            f"end of {places[0].topic}", lambda: {place: self._broker.log_of(place).end for place in places}
        )

    def assign(self, places: list[TopicPartition]) -> None:
        self._places = dict.fromkeys(places, 0)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._places[place] = offset

    def pause(self, place: TopicPartition) -> None:
        pass

    async def position(self, place: TopicPartition) -> int:
        return self._places[place]

    async def getmany(self, place: TopicPartition, *, timeout_ms: int) -> dict[TopicPartition, list[StoredRecord]]:
        del timeout_ms
        start = self._places[place]
        log = self._broker.log_of(place)
        end = min(log.end, start + MOST_FETCHED)
        records = await self._world.ask_kafka(
            f"read {place.topic} {start}..{end - 1}", lambda: log.between(start, end, MOST_FETCHED)
        )
        self._places[place] = end
        return {place: records}


class Batch:
    """A record batch that is not yet sent."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.records: list[StoredRecord] = []

    def append(
        self, *, key: bytes | None, value: bytes | None, timestamp: int | None, headers: list[tuple[str, bytes]]
    ) -> object | None:
        del timestamp
        if len(self.records) == self._most:
            return None
        self.records.append(StoredRecord(-1, 0, key, value, tuple(headers)))
        return self


class Producer:
    """An idempotent producer: it repeats itself until it is answered or has no time left; nothing lands twice."""

    def __init__(self, world: "World", process: Process) -> None:
        self._world, self._process = world, process
        self._sender = SimpleNamespace()  # the double's partitions never wait for each other

    async def start(self) -> None:
        await self._world.ask_kafka("start a producer", lambda: None)

    async def stop(self) -> None:
        pass

    def create_batch(self) -> Batch:
        return Batch(self._world.records_a_send)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[None]:
        place = TopicPartition(topic, partition)
        fenced_at_s = self._world.fenced_at_s[self._process, partition]
        send = Send(self._process, self._world.generation_known_to(self._process), batch.records, fenced_at_s)
        self._world.spawn_in_own_process(self._deliver(place, send))
        return send.acknowledged

    async def _deliver(self, place: TopicPartition, send: Send) -> None:
        what = f"send {len(send.records)} to {place.topic}"
        try:
            await self._world.ask_kafka(what, lambda: self._world.broker.land(place, send), is_send=True)
        except (KafkaConnectionError, RequestTimedOutError) as error:
            if not send.acknowledged.done():
                send.acknowledged.set_exception(error)
                send.acknowledged.exception()
            return
        if not send.acknowledged.done():
            send.acknowledged.set_result(None)


def refused() -> Exception:
    """What the clients raise where they could not ask."""
    error: Exception = KafkaConnectionError("refused")
    return error


def no_reply() -> Exception:
    """What the clients raise where no answer came."""
    error: Exception = RequestTimedOutError("no reply")
    return error
