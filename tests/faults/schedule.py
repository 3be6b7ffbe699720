"""One schedule: a seed chooses commands, processes and faults; then everything that spec §4 promises must hold."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

from services.allocator import group, kafka, owner
from services.auditor.audit import audit
from services.auditor.records import Kind, Record
from services.settings import Settings
from tests.faults.kafka_double import Batch, Producer, StoredRecord, TailConsumer
from tests.faults.loop import PROCESS, RoundInCircles
from tests.faults.planted import Planted, mistaken
from tests.faults.real_redis import RealRedis
from tests.faults.redis_double import SlotStoreDouble
from tests.faults.world import PARTITION_OF, PARTITIONS, World
from tests.services.memory import NOON_MS, MemoryReader

SETTINGS = Settings()
ALLOCATOR = [module for name, module in sorted(sys.modules.items()) if name.startswith("services.allocator.")]
FAULTS_END_S = 90.0
QUIET_WITHIN_S = 400.0
FOREIGN = b"foreign"
DEPARTMENTS = {
    partition: [name for name in "abcdefghijkl" if PARTITION_OF(f"blr1/{name}".encode()) == partition][:2]
    for partition in range(PARTITIONS)
}
POISON = [None, b"", b"{", b"[]", b"\xff", b'{"specversion":"1.0"}', b"null"]


class Outcome(NamedTuple):
    """How a schedule went.

    Attributes:
        story: what happened, line by line.
        breaches: what must not have; none where all holds.
        situations: what was reached, how often.
    """

    seed: int
    story: list[str]
    breaches: list[str]
    situations: Counter[str]


def play(seed: int, planted: Planted | None = None, *, redis: RealRedis | None = None) -> Outcome:
    """Play the schedule of a seed, with a mistake planted or none, on the double or a real Redis."""
    world = World(seed, SETTINGS, redis)
    with _doubles_in_place(world, planted):
        try:
            world.loop.run(world.process, _Schedule(world).play())
        except RoundInCircles as error:
            world.breach(f"no end: {error}")
    for failure in world.loop.errors:
        world.breach(failure)
    world.judge_repeats()
    report = audit(Topics(world))
    for invariant, breaches in report.breaches.items():
        for breach in breaches:
            world.breach(f"{invariant}: {breach.text} ({', '.join(map(str, breach.records))})")
    return Outcome(seed, world.story, world.breaches, world.situations)


def _doubles_in_place(world: World, planted: Planted | None) -> ExitStack:
    rng, tell = world.rng, _Log(world)
    replaced: list[tuple[Any, str, Any]] = [
        *[(module, "log", tell) for module in ALLOCATOR if hasattr(module, "log")],
        (owner, "BATCH_RECORDS", rng.randint(1, 6)),
        (group, "COMMIT_EVERY_S", rng.choice((0.1, 0.5, 3.0))),
        (kafka, "TAIL_RECORDS", 200),
        (kafka, "TAIL_DEAD_LETTERS", 200),
        (kafka, "AIOKafkaConsumer", lambda **_: TailConsumer(world)),
        (kafka, "AIOKafkaProducer", lambda **_: Producer(world, PROCESS.get())),
        (kafka, "_gzipped_batch", lambda: Batch(world.records_a_send)),
        (group, "SlotStore", SlotStoreDouble),
        *([(planted.where, planted.method, mistaken(planted))] if planted else []),
    ]
    stack = ExitStack()
    for where, name, what in replaced:
        stack.enter_context(patch.object(where, name, what))
    return stack


class _Log:
    """Turns what the allocator logs into story."""

    def __init__(self, world: World) -> None:
        self._world = world

    def info(self, event: str, **details: object) -> None:
        self._world.say(PROCESS.get().name, f"logs: {event} {_worded(details)}")
        why = str(details.get("why", ""))
        if event == "taking the partition again":
            for name in ("generation is lower", "applied offset is not", "stopped in the middle", "no outcome"):
                if name in why:
                    self._world.reached(f"taken again: {name}")
        if event == "another owner has the partition":
            self._world.reached("superseded")
            if PROCESS.get().stops:
                self._world.reached("a stalled owner woke up and was refused")
        if event.startswith("the state was half written"):
            self._world.reached("half-written state rebuilt")

    warning = error = info

    def log(self, _level: int, event: str, **details: object) -> None:
        self.info(event, **details)


def _worded(details: dict[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in details.items())


class _Schedule:
    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self._unsent = list(commands(self._rng))
        self._last_fault = self._rng.choice(("flush", "roll back", "", "", ""))

    async def play(self) -> None:
        """Send and break things until everything was sent, then mend everything and wait until all is quiet."""
        world, rng = self._world, self._rng
        for _ in range(rng.choice((0, len(self._unsent) // 2))):
            self._send_one()
        for _ in range(rng.choice((1, 2, 2, 3))):
            world.later(rng.random(), world.start_allocator)
        await self._until_quiet(FAULTS_END_S)
        world.chaos.left = 0
        if await self._until_quiet(QUIET_WITHIN_S) and self._last_fault:
            world.say("world", f"all is quiet, then: {self._last_fault}")
            world.lose_writes(flush=self._last_fault == "flush")
            await self._until_quiet(QUIET_WITHIN_S)
        if not self._is_quiet():
            self._complain()

    async def _until_quiet(self, within_s: float) -> bool:
        """Let the world go on; say whether everything was answered in time."""
        world, loop = self._world, asyncio.get_running_loop()
        until_s = loop.time() + within_s
        while not self._is_quiet() and loop.time() < until_s:
            await asyncio.sleep(0.5)  # of simulated time
            world.broker.group.tick()
            for _ in range(self._rng.randint(0, 3)):
                self._send_one()
            if not world.alive() and loop.time() > 10:
                world.start_allocator()
        return self._is_quiet()

    def _send_one(self) -> None:
        if not self._unsent:
            return
        partition, key, value, headers = self._unsent.pop()
        world, rng = self._world, self._rng
        if rng.random() < 0.1:
            world.broker.log_of(world.command_places[partition]).leave_gap()
        world.send_command(partition, key, value, headers, NOON_MS + 1000 * len(self._unsent))
        if rng.random() < 0.1:
            answers = world.broker.log_of(world.answers_at(rng.choice((Kind.EVENTS, Kind.DEAD_LETTERS)), partition))
            answers.leave_gap()
            if rng.random() < 0.5:
                answers.append(FOREIGN, b"what another program wrote", ())

    def _is_quiet(self) -> bool:
        return not self._unsent and not self._world.under_way and not self._unfinished()

    def _unfinished(self) -> list[str]:
        world = self._world
        found = [] if world.broker.group.is_stable else ["the group rebalances"]
        for number, place in enumerate(world.command_places):
            log, state = world.broker.log_of(place), world.redis.partitions[number]
            end = log.records[-1].offset + 1 if log.records else 0
            found += [f"not answered in partition {number}: {what}" for what in world.is_answered(number, end)]
            if world.broker.committed.get(place, 0) != end:
                found.append(f"committed in partition {number}: {world.broker.committed.get(place, 0)} of {end}")
            if state.applied != end - 1 or state.is_half_written:
                found.append(f"applied in partition {number}: {state.applied} of {end - 1}")
            elif not world.redis.holds(number, world.right[number]):
                found.append(f"I9: Redis decided other commands in partition {number} than there are")
        return found

    def _complain(self) -> None:
        for what in self._unfinished() or ["something is under way for ever"]:
            self._world.breach(f"no progress: {what}")


class Topics:
    """A world's topics, for the auditor."""

    partitions = PARTITIONS

    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, kind: Kind, partition: int) -> MemoryReader:
        """Give a partition's records, but for what is not the allocator's."""
        place = self._world.answers_at(kind, partition)
        records = self._world.broker.log_of(place).records
        return MemoryReader([_record(place, record) for record in records if record.key != FOREIGN])

    def letters_begin(self, partition: int) -> int:
        """Nothing expires here."""
        del partition
        return 0

    def commands_end(self, partition: int) -> int:
        """Give the end of the commands."""
        return self._world.broker.log_of(self._world.command_places[partition]).end


def _record(place: Any, record: StoredRecord) -> Record:
    return Record(place.topic, place.partition, *record)


Sent = tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]


def commands(rng: Random) -> Iterator[Sent]:
    """Give commands, last first: few seats and many sources, so that one command often causes several events."""
    share = rng.choice((0.0, 0.15, 0.15, 0.6))
    for number in range(rng.randint(3, 24), 0, -1):
        partition = rng.choice((0, 0, 1))
        department = rng.choice(DEPARTMENTS[partition])
        key = f"blr1/{department}".encode()
        if rng.random() < share:
            wrong_place = rng.random() < 0.3
            value = _request(rng, department, number) if wrong_place else rng.choice(POISON)
            yield (1 - partition if wrong_place else partition), key, value, (("sender", b"x"),)
        else:
            yield partition, key, _request(rng, department, number), ()
    for partition, departments in DEPARTMENTS.items():
        for department in departments:
            schedule = [{"slot": "13:00-14:00", "capacity": rng.randint(1, 2)}]
            data = {"doctor_id": "a", "name": "A", "schedule": schedule}
            yield partition, f"blr1/{department}".encode(), _command("RegisterDoctor", department, 0, data), ()


def _request(rng: Random, department: str, number: int) -> bytes:
    pool = {"date": "2026-11-23", "slot": "13:00-14:00"}
    kind = rng.choice(("RequestToken",) * 5 + ("CancelToken", "SetDoctorAvailability", "CallNext", "CheckIn"))
    data: dict[str, Any] = {"token_id": f"blr1.{department}.20261123.{rng.randint(1, 4)}"}
    if kind == "RequestToken":
        source = rng.choice(("EMERGENCY", "EMERGENCY", "PAID", "WALK_IN"))
        data = {**pool, "patient_id": f"p{rng.randrange(9)}", "source": source}
    elif kind == "SetDoctorAvailability":
        data = {**pool, "doctor_id": "a", "available": rng.random() < 0.5}
    elif kind == "CallNext":
        data = {**pool, "doctor_id": "a"}
    return _command(kind, department, rng.choice((number, number, number, 1)), data)


def _command(kind: str, department: str, number: int, data: dict[str, Any]) -> bytes:
    data = {"facility_id": "blr1", "department_id": department, **data}
    envelope = {"specversion": "1.0", "id": f"{kind}-{number}", "source": "portal/web", "type": f"opd.{kind}.v1"}
    return json.dumps({**envelope, "data": data}).encode()
