"""The world that an allocator lives in: servers, processes, a network, and a seed that chooses what goes wrong."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from random import Random
from typing import Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from allocation_core.store import BatchedCommand, Refusal
from schemas.wire import command_key
from services.allocator.group import Group
from services.allocator.kafka import Publisher, TailReader, partitioner
from services.allocator.metrics import AllocatorMetrics
from services.allocator.records import EventPlace, dead_letter_source, event_place, read_record
from services.auditor.records import Kind
from services.settings import Settings
from tests.faults import kafka_double, redis_double
from tests.faults.kafka_double import Broker, GroupConsumer, Send, StoredRecord
from tests.faults.loop import PROCESS, Process, SimulatedLoop
from tests.faults.real_redis import RealRedis
from tests.faults.redis_double import Decided, RedisDouble
from tests.services.memory import TOPICS

PARTITIONS = 2
REJOIN_WITHIN_S = 72.0
REDIS_ANSWERS_WITHIN_S = 10.0
KAFKA_ANSWERS_WITHIN_S = 30.0
MOST_ALLOCATORS = 4
HIT_MORE_OFTEN = ((("fetch", "read", "end of", "check"), 1), (("begin clear", "delete", "end clear"), 10))
LATE_WITHIN_S = 40.0
METRICS = AllocatorMetrics()
PARTITION_OF = partitioner(PARTITIONS)

FAULTS = (
    "crash before",
    "crash after",
    "crash, lands late",
    "stop before",
    "stop after",
    "stop, lands late",
    "refused",
    "reply lost",
    "lands late",
    "slow",
    "half written",
    "flush before",
    "flush after",
    "roll back before",
    "roll back after",
    "server down",
    "one more",
    "one less",
)

Result = TypeVar("Result")


class Chaos:
    """Chooses what goes wrong: a few kinds of faults, so many, so often, after so many questions."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._kinds = rng.sample(FAULTS, rng.randint(1, 7))
        self._rate = rng.choice((0.4, 0.1, 0.03))
        self._not_yet = rng.randrange(60)
        self.left = rng.choice((1, 1, 2, 3, 5, 8))

    def pick(self, what: str) -> str:
        """Choose the fault of one question, mostly none; what is seldom asked is hit the more often."""
        self._not_yet -= 1
        rate = self._rate * next((times for words, times in HIT_MORE_OFTEN if what.startswith(words)), 3)
        if not self.left or self._not_yet > 0 or self._rng.random() > rate:
            return ""
        return self._rng.choice(self._kinds)


class Allocator:
    """One process of the allocator."""

    def __init__(self, world: "World", number: int) -> None:
        self.process = Process(f"allocator {number}")
        self._world = world
        self.consumer = GroupConsumer(world, self.process)
        self._leaving = False

    def start(self) -> None:
        """Begin; joins the group."""
        self._world.say(self.process.name, "starts")
        self._world.loop.spawn(self.process, self._run())

    def leave(self) -> None:
        """As SIGTERM."""
        if not self._leaving:
            self._leaving = True
            self._world.say(self.process.name, "is told to end")
            self._world.loop.spawn(self.process, self._end())

    async def _run(self) -> None:
        tails = TailReader(self._world.settings)
        await tails.start()
        self._group = Group(
            self._world.settings,
            redis=self._world,  # type: ignore[arg-type]  # the slot store's double knows what to do with it
            consumer=lambda: self.consumer,
            tails=tails,
            publisher=Publisher(self._world.settings),
            partition_of=PARTITION_OF,
            metrics=METRICS,
            fail=self._fail,
            rejoin_within_s=REJOIN_WITHIN_S,
        )
        self._group.start()
        self._membership = self._world.spawn_in_own_process(self.consumer.membership(self._group))

    def _fail(self) -> None:
        self._world.breach(f"{self.process.name} cannot go on: {self._group.failure}")

    async def _end(self) -> None:
        await self._group.stop()
        self._membership.cancel()
        self._world.broker.group.leave(self.process)
        self._world.say(self.process.name, "has ended")
        self._world.loop.kill(self.process)


class World:
    """One schedule's.

    Attributes:
        story: what happened, line by line.
        breaches: what must not have.
        situations: what was reached, how often.
    """

    def __init__(self, seed: int, settings: Settings, redis: RealRedis | None = None) -> None:
        self.rng = Random(seed)
        self.loop = SimulatedLoop(self.rng)  # type: ignore[abstract]  # what tasks need of a loop is there
        self.settings = settings
        self.story: list[str] = []
        self.breaches: list[str] = []
        self.situations: Counter[str] = Counter()
        self.process = Process("world")
        self.chaos = Chaos(self.rng)
        self.records_a_send = self.rng.choice((1, 1, 2, 3, 5))
        self.command_places = [TopicPartition(settings.commands_topic, number) for number in range(PARTITIONS)]
        self.redis = redis or RedisDouble(PARTITIONS)
        self.right: list[Decided] = [self.redis.nothing_decided(number) for number in range(PARTITIONS)]
        self.expected: list[list[EventPlace]] = [[] for _ in range(PARTITIONS)]
        self.poison: list[set[int]] = [set() for _ in range(PARTITIONS)]
        self.allocators: list[Allocator] = []
        self.under_way = 0
        self._late_sends: list[_Question] = []
        self._down_until_s = {"Redis": 0.0, "Kafka": 0.0}
        self._landed: dict[tuple[TopicPartition, EventPlace], Send] = {}
        self._landed_at_s: dict[tuple[TopicPartition, EventPlace], float] = {}
        self._repeats: list[tuple[str, Send, Send, float]] = []
        self._highest: dict[TopicPartition, EventPlace] = {}
        self.fenced_at_s: dict[tuple[Process, int], float] = {}
        self.broker = Broker(self)

    # What is told

    def say(self, who: str, what: str) -> None:
        """Tell the story."""
        self.story.append(f"{self.loop.time():9.3f}  {who:12}  {what}")

    def breach(self, what: str) -> None:
        """Note what must not be."""
        self.say("BREACH", what)
        self.breaches.append(what)

    def reached(self, situation: str) -> None:
        """Count a situation."""
        self.situations[situation] += 1

    # Commands, and what is right

    def send_command(
        self, partition: int, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]], time_ms: int
    ) -> None:
        """Append to the commands topic, and note what must become of it."""
        place = self.command_places[partition]
        stored = self.broker.log_of(place).append(key, value, headers, time_ms)
        command = read_record(stored, partition, PARTITION_OF)
        if isinstance(command, str):
            self.poison[partition].add(stored.offset)
            return
        batched = BatchedCommand(stored.offset, time_ms, command_key(command), command)
        self.right[partition] = self.right[partition].then(batched)
        self.expected[partition] += [EventPlace(stored.offset, n) for n in range(len(self.right[partition].events))]

    def is_answered(self, partition: int, below: int) -> list[str]:
        """Name the answers to commands below an offset that are in no topic."""
        events, letters = self._events_at(partition), self._letters_at(partition)
        return [
            *(
                f"event {place.offset}-{place.n}"
                for place in self.expected[partition]
                if place.offset < below and (events, place) not in self._landed
            ),
            *(
                f"dead letter {offset}"
                for offset in sorted(self.poison[partition])
                if offset < below and (letters, EventPlace(offset, 0)) not in self._landed
            ),
        ]

    def answers_at(self, kind: Kind, partition: int) -> TopicPartition:
        """Name a partition of a topic."""
        return TopicPartition(TOPICS[kind], partition)

    def _events_at(self, partition: int) -> TopicPartition:
        return self.answers_at(Kind.EVENTS, partition)

    def _letters_at(self, partition: int) -> TopicPartition:
        return self.answers_at(Kind.DEAD_LETTERS, partition)

    # What the servers tell

    def landed(self, place: TopicPartition, record: StoredRecord, send: Send) -> None:
        """An answer was appended."""
        if place.topic == self.settings.events_topic:
            at = event_place(record.value, place.partition)
        else:
            source = dead_letter_source(record.headers)
            at = None if source is None else EventPlace(source, 0)
        if at is None:
            self.breach(f"a strange answer in {place.topic} at {record.offset}")
            return
        self.say("log", f"{place.topic}[{place.partition}]@{record.offset}: answers {at.offset}-{at.n}")
        first = self._landed.setdefault((place, at), send)
        first_at_s = self._landed_at_s.setdefault((place, at), self.loop.time())
        if first is not send:
            self._repeats.append((f"{at.offset}-{at.n} in {place.topic}[{place.partition}]", first, send, first_at_s))
        if not send.was_current:
            self.reached("late append of an old owner")
        if at < self._highest.get(place, at):
            self.reached("old records behind newer ones")
        self._highest[place] = max(at, self._highest.get(place, at))

    def committing(self, place: TopicPartition, before: int, offset: int) -> None:
        """An offset is about to be committed."""
        if offset < before:
            self.breach(f"commit of {offset} in partition {place.partition}, below the {before} that was committed")
        missing = self.is_answered(place.partition, offset)
        if missing:
            self.breach(f"commit of {offset} in partition {place.partition}, but in no topic: {', '.join(missing)}")

    def fetched(self, place: TopicPartition, records: list[StoredRecord]) -> None:
        """An owner got commands."""
        for record in records:
            answers, at = self._events_at(place.partition), EventPlace(record.offset, 0)
            if record.offset in self.poison[place.partition]:
                if (self._letters_at(place.partition), at) in self._landed:
                    self.reached("dead letter suppressed")
            elif (answers, at) in self._landed:
                self.reached("event suppressed")
                parts = [one for one in self.expected[place.partition] if one.offset == record.offset]
                if any((answers, one) not in self._landed for one in parts):
                    self.reached("half-published command")

    def judge_repeats(self) -> None:
        """Repeats may be only where a send was in flight when something happened to its process, or to the broker.

        What stood in the log before an owner fenced is in the marks that it read then.
        """
        for what, first, second, first_at_s in self._repeats:
            if first_at_s < second.fenced_at_s:
                self.breach(f"{what} stands twice: {second.by.name} fenced after it was there")
            elif first.is_regular and second.is_regular:
                self.breach(f"{what} stands twice, by {first.by.name} and {second.by.name}, and nothing had happened")
            else:
                self.reached("repeat that is allowed")

    # Processes

    def generation_known_to(self, process: Process) -> int:
        """Give the group's generation as a process knows it."""
        return next(one.consumer.generation for one in self.allocators if one.process is process)

    def spawn_in_own_process(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task of the process that asks."""
        return self.loop.spawn(PROCESS.get(), work)

    def start_allocator(self) -> None:
        """One more process."""
        allocator = Allocator(self, len(self.allocators) + 1)
        self.allocators.append(allocator)
        allocator.start()

    def alive(self) -> list[Allocator]:
        """Give the processes that were not killed."""
        return [allocator for allocator in self.allocators if not allocator.process.killed]

    def _crash(self, process: Process) -> None:
        self.say(process.name, "is killed")
        self.reached("crash")
        self.loop.kill(process)
        self.later(self.rng.uniform(0.2, 8), self.start_allocator)

    def _stop(self, process: Process) -> None:
        for_s = self.rng.choice((1.0, 4.0, 8.0, 12.0, 20.0, 40.0))
        self.say(process.name, f"stands still for {for_s} s")
        self.reached("stall")
        self.loop.stop_process(process)
        self.under_way += 1
        self.later(for_s, self._go_on, process)

    def _go_on(self, process: Process) -> None:
        self.under_way -= 1
        if not process.killed:
            self.say(process.name, "wakes up")
            self.loop.continue_process(process)
            generation = self.generation_known_to(process)
            if self.broker.group.generation > generation > 0:
                self.reached("a stalled owner woke up late")

    def later(self, after_s: float, work: Callable[..., None], *args: object) -> None:
        """Do something later, whoever is alive then."""
        context = copy_context()
        context.run(PROCESS.set, self.process)
        self.loop.call_later(after_s, work, *args, context=context)

    # The network

    async def ask_redis(
        self, what: str, execute: Callable[[], Result], *, half: Callable[[int], None] | None = None
    ) -> Result:
        """Ask Redis; `half` executes a part of a script only."""
        fault = self._pick(what, is_redis=True, half=half)
        await self._suffer_before(fault)
        answer: asyncio.Future[Result] = self.loop.create_future()
        question = _Question(PROCESS.get(), "Redis", what, execute, answer, fault, half)
        self.later(self._latency_s(), self._arrive, question)
        return await answer

    async def ask_kafka(self, what: str, execute: Callable[[], Result], *, is_send: bool = False) -> Result:
        """Ask Kafka; a send is repeated by the producer until it has no time left."""
        fault = self._pick(what, is_redis=False, can_be_late=is_send)
        await self._suffer_before(fault)
        answer: asyncio.Future[Result] = self.loop.create_future()
        question = _Question(PROCESS.get(), "Kafka", what, execute, answer, fault, is_send=is_send)
        self.later(self._latency_s(), self._arrive, question)
        return await answer

    def _pick(
        self, what: str, *, is_redis: bool, half: Callable[[int], None] | None = None, can_be_late: bool = True
    ) -> str:
        if PROCESS.get() is self.process:
            return ""
        fault = self.chaos.pick(what)
        if (fault == "half written" and half is None) or ("late" in fault and not can_be_late):
            return ""
        if fault:
            self.chaos.left -= 1
            self.reached(f"{fault}, {'Redis' if is_redis else 'Kafka'}")
            self.say(PROCESS.get().name, f"{what}: {fault.upper()}")
        return fault

    async def _suffer_before(self, fault: str) -> None:
        process = PROCESS.get()
        if fault == "crash before":
            self._crash(process)
            await asyncio.sleep(0)
        elif fault == "stop before":
            self._stop(process)
            await asyncio.sleep(0)

    def _latency_s(self) -> float:
        return 0.0005 + 0.005 * self.rng.random() ** 3

    def _arrive(self, question: "_Question") -> None:
        now, fault, double = self.loop.time(), question.fault, _DOUBLES[question.server]
        if fault == "server down":
            question.fault = ""
            self._down_until_s[question.server] = now + self.rng.choice((0.5, 3.0, 12.0, 45.0))
        down_for_s = self._down_until_s[question.server] - now
        if down_for_s > 0 and question.is_send:
            self._answer_late(question, down_for_s)
        elif down_for_s > 0 or fault == "refused":
            question.answer_in(self, 0.01, double.refused())
        elif "late" in fault:
            self._answer_late(question, self.rng.uniform(0.01, self.rng.choice((1.0, LATE_WITHIN_S))))
        else:
            if question.what == "fence" and self.rng.random() < 0.4:  # the last moment at which it may still land
                for late in tuple(self._late_sends):
                    self._execute_late(late)
            self._happen(fault, "before")
            reply = question.execute_now(self)
            self._happen(fault, "after")
            if fault == "reply lost":
                question.answer_in(self, self.rng.choice((0.01, 9.0)), double.no_reply())
            else:
                wait_s = self.rng.uniform(0.1, 9.0) if fault == "slow" else self._latency_s()
                question.answer_in(self, wait_s, reply)
            if fault == "crash after":
                self._crash(question.by)
            elif fault == "stop after":
                self._stop(question.by)

    def _answer_late(self, question: "_Question", late_s: float) -> None:
        """Let something arrive late; the one who asks waits only so long."""
        self.under_way += 1
        if question.is_send:
            self._late_sends.append(question)
        self.later(late_s, self._execute_in_time, question)
        patience_s = REDIS_ANSWERS_WITHIN_S if question.server == "Redis" else KAFKA_ANSWERS_WITHIN_S
        question.answer_in(
            self, min(patience_s, self.rng.uniform(0, 2 * patience_s)), _DOUBLES[question.server].no_reply()
        )
        if question.fault.startswith("crash"):
            self._crash(question.by)
        elif question.fault.startswith("stop"):
            self._stop(question.by)

    def _execute_in_time(self, question: "_Question") -> None:
        if not question.is_send or question in self._late_sends:
            self._execute_late(question)

    def _take_again(self) -> None:
        what, alive = self.rng.choice(("crash", "crash", "join", "roll back")), self.alive()
        if what == "crash" and alive:
            for allocator in alive:
                self._crash(allocator.process)
        elif what == "join" and len(alive) < MOST_ALLOCATORS:
            self.start_allocator()
        else:
            self.lose_writes(flush=False)

    def _execute_late(self, question: "_Question") -> None:
        self.under_way -= 1
        if question in self._late_sends:
            self._late_sends.remove(question)
            self.reached("late append")
            if self.rng.random() < 0.6:  # what stands behind newer records is in the next owner's way
                self.later(self.rng.uniform(0, 0.02), self._take_again)
        self.say(question.by.name, f"{question.what}: arrives late")
        question.answer_in(self, self._latency_s(), question.execute_now(self))

    def _happen(self, fault: str, when: str) -> None:
        if not fault.endswith(when):
            if when == "before" and fault == "one more" and len(self.alive()) < MOST_ALLOCATORS:
                self.start_allocator()
            elif when == "before" and fault == "one less":
                self.rng.choice(self.alive() or self.allocators).leave()
        elif fault.startswith(("flush", "roll back")):
            self.lose_writes(flush=fault.startswith("flush"))

    def lose_writes(self, *, flush: bool) -> None:
        """Flush Redis, or bring an older one back."""
        before = self.redis.partitions
        if flush:
            self.redis.flush()
        else:
            self.redis.roll_back(self.rng.choice((0.1, 0.3, 1.0)) * self.rng.random())
        for number, (old, new) in enumerate(zip(before, self.redis.partitions, strict=True)):
            committed = self.broker.committed.get(self.command_places[number], 0)
            self.say(
                "Redis", f"partition {number}: applied {old.applied} -> {new.applied}, generation {new.generation}"
            )
            if new.applied < old.applied < committed - 1:
                self.reached("writes lost while replaying")


class _Question:
    """Something asked of a server, and what goes wrong with it."""

    def __init__(  # noqa: PLR0917  it is a record
        self,
        by: Process,
        server: str,
        what: str,
        execute: Callable[[], Any],
        answer: asyncio.Future[Any],
        fault: str,
        half: Callable[[int], None] | None = None,
        is_send: bool = False,
    ) -> None:
        self.by, self.server, self.what, self.answer = by, server, what, answer
        self.fault, self.is_send = fault, is_send
        self._execute, self._half = execute, half

    def execute_now(self, world: "World") -> Any:
        """Execute it; what it raises is an answer too."""
        try:
            if self._half is not None and self.fault == "half written":
                self._half(world.rng.randrange(3))
            result = self._execute()
        except (Refusal, RedisError, KafkaError) as refusal:
            world.say(self.by.name, f"{self.what}: {type(refusal).__name__} {refusal}")
            return refusal
        world.say(self.by.name, f"{self.what}: {_short(result)}")
        return result

    def answer_in(self, world: "World", after_s: float, reply: Any) -> None:
        """Let the reply arrive."""
        world.later(after_s, self._settle, reply)

    def _settle(self, reply: Any) -> None:
        if self.answer.done():
            return
        if isinstance(reply, Exception):
            self.answer.set_exception(reply)
            self.answer.exception()  # whoever asked may be gone
        else:
            self.answer.set_result(reply)


def _short(result: Any) -> str:
    if isinstance(result, dict):
        return "; ".join(f"{key}: {_short(value)}" for key, value in result.items()) or "none"
    if isinstance(result, list):
        return ", ".join(str(getattr(one, "offset", getattr(one, "type", one))) for one in result) or "none"
    if isinstance(result, tuple) and not hasattr(result, "_fields"):
        return _short(result[0])
    return "done" if result is None else str(result)


_DOUBLES: dict[str, Any] = {"Redis": redis_double, "Kafka": kafka_double}
