"""Plays a day into a running system: sends what is due, waits for every answer, lets the world go on from there."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import quantiles
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from pydantic_core import from_json

from schemas.wire import CONTENT_TYPE
from services.errors import OpdError
from services.kafka import kafka_client
from services.settings import Settings
from services.simulator.day import Day
from services.simulator.department import Posting
from services.simulator.front_door import FrontDoor
from services.simulator.world import Step, World
from services.topics import check_topics

_POLL_MS = 200
_Place = tuple[int, int]


class SimulationError(OpdError):
    """The day cannot go on: what is missing, and what to do."""


class What(StrEnum):
    """What happened."""

    COMMAND = "command"
    EVENT = "event"
    DEAD_LETTER = "dead letter"


class Happening(NamedTuple):
    """One record of the day, for whoever looks on.

    Attributes:
        at_ms: virtual time, in milliseconds since the day's midnight.
        type: `RequestToken`, `TokenConfirmed`, …; `unreadable` for a record that is no command.
        data: the message's data; empty for what is unreadable. It names patients: nothing for a log.
        answered_ms: real time from the command's sending to this answer; None for a command, and for an event that
            somebody else's command caused.
    """

    what: What
    at_ms: int
    type: str
    data: Mapping[str, Any]
    answered_ms: float | None = None


Onlooker = Callable[[Happening], None]


@dataclass
class Summary:
    """How a day went.

    Attributes:
        commands: sent, by type; `unreadable` counts the records that were none.
        events: that answered them, by type.
        refusals: by reason.
        seconds: of real time.
        steps: of virtual time, each sent and answered as one.
        answered_ms: real time from sending to the answer, a command each.
        waits_ms: virtual time from check-in to being called, a patient each, shortest first.
        over_http: of the commands, those that went through a gateway.
    """

    day: Day
    commands: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    dead_letters: int = 0
    steps: int = 0
    seconds: float = 0.0
    answered_ms: list[float] = field(default_factory=list)
    waits_ms: list[int] = field(default_factory=list)
    over_http: int = 0

    def as_json(self) -> dict[str, Any]:
        """Give the summary for machines."""
        return {
            "seed": self.day.seed,
            "date": self.day.day,
            "facility_id": self.day.facility_id,
            "run": self.day.run,
            "commands": dict(self.commands.most_common()),
            "events": dict(self.events.most_common()),
            "over_http": self.over_http,
            "refusals": dict(self.refusals.most_common()),
            "dead_letters": self.dead_letters,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "answered_ms": {f"p{at}": round(value, 1) for at, value in percentiles(self.answered_ms).items()},
            "waits_minutes": {f"p{at}": round(value / 60_000) for at, value in percentiles(self.waits_ms).items()},
        }


def percentiles(values: Sequence[float]) -> dict[int, float]:
    """Give the median, the 90th and the 99th percentile; all 0 where there is nothing."""
    if len(values) < 2:
        return dict.fromkeys((50, 90, 99), values[0] if values else 0.0)
    cuts = quantiles(values, n=100)
    return {at: cuts[at - 1] for at in (50, 90, 99)}


async def play(  # noqa: PLR0913  each is a choice
    day: Day,
    settings: Settings,
    *,
    speed: float = 0,
    on_event: Onlooker = lambda _: None,
    gateway: str | None = None,
    timeout_s: float = 30,
) -> Summary:
    """Play a day into the system that the settings name, and wait for its end.

    Args:
        day: what to play.
        settings: where Kafka is and what the topics are called.
        speed: virtual seconds a real one; 0 is as fast as the answers come.
        on_event: is told of every command sent and everything that the topics say meanwhile.
        gateway: URL of one, at which the first department's walk-ins ask for their tokens.
        timeout_s: how long a command may go unanswered.

    Raises:
        TopicError: Kafka cannot be reached, or its topics do not fit.
        SimulationError: answers do not come, or Kafka failed.
        NoAnswer: the gateway failed.
    """
    topics = await check_topics(settings, timeout_s=timeout_s)
    world, summary, began = World(day), Summary(day), time.monotonic()
    key = f"{day.facility_id}/{day.plan()[0].department_id}".encode()
    door = None if gateway is None else FrontDoor(gateway, key)
    try:
        async with _wire(settings, topics[0].partitions, timeout_s, door) as wire:
            first = world.next_step()
            step = first
            while step is not None and first is not None:
                if speed:
                    await _sleep_until(began + (step.at_ms - first.at_ms) / 1000 / speed)
                world.learn(await _play_step(step, wire, summary, on_event))
                step = world.next_step()
    except KafkaError as error:
        servers = settings.kafka_bootstrap_servers
        raise SimulationError(f"the Kafka at {servers} failed: {error!r}\ntry: look into its log") from error
    summary.seconds = time.monotonic() - began
    summary.waits_ms = world.waits_ms
    summary.over_http = 0 if door is None else door.asked
    return summary


async def _sleep_until(then: float) -> None:
    await asyncio.sleep(max(0.0, then - time.monotonic()))


async def _play_step(step: Step, wire: "_Wire", summary: Summary, on_event: Onlooker) -> list[dict[str, Any]]:
    """Send a step, wait for its answers, and give the events."""
    for posting in step.postings:
        summary.commands[posting.type] += 1
        on_event(Happening(What.COMMAND, posting.due_ms, posting.type, _data(posting)))
    answers = await wire.ask(step.postings)
    for answer in answers:
        kind = answer.event["type"][4:-3] if answer.event else "unreadable"
        data = answer.event["data"] if answer.event else {}
        if answer.took_ms is not None:
            summary.answered_ms.append(answer.took_ms)
        if answer.event is None:
            summary.dead_letters += 1
        else:
            summary.events[kind] += 1
            if kind == "CommandRejected":
                summary.refusals[data["reason"]] += 1
        what = What.EVENT if answer.event else What.DEAD_LETTER
        on_event(Happening(what, step.until_ms, kind, data, answer.took_ms))
    summary.steps += 1
    return [answer.event for answer in answers if answer.event is not None]


def _data(posting: Posting) -> Mapping[str, Any]:
    data: Mapping[str, Any] = {} if posting.type == "unreadable" else from_json(posting.value or b"")["data"]
    return data


class _Answer(NamedTuple):
    """An event, or None for a dead letter, and how long after its command it came."""

    event: dict[str, Any] | None
    took_ms: float | None


class _Wire:
    """Sends commands, and reads the events and dead letters that come of them."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        consumer: AIOKafkaConsumer,
        settings: Settings,
        timeout_s: float,
        door: FrontDoor | None,
    ) -> None:
        self._producer, self._consumer, self._settings, self._timeout_s = producer, consumer, settings, timeout_s
        self._door = door

    async def ask(self, postings: Sequence[Posting]) -> list[_Answer]:
        """Send records and give all answers, those of one partition in the topic's order."""
        sent_at = time.monotonic()
        unanswered = await self._send(postings)
        answers: dict[TopicPartition, list[_Answer]] = {}
        while unanswered or not await self._has_read_all(answers):
            if time.monotonic() > sent_at + self._timeout_s:
                raise self._no_answer(unanswered)
            for where, records in (await self._consumer.getmany(timeout_ms=_POLL_MS)).items():
                now = time.monotonic()
                for record in records:
                    place, event = self._read(record)
                    took_ms = (now - sent_at) * 1000 if place in unanswered else None
                    unanswered.discard(place)
                    answers.setdefault(where, []).append(_Answer(event, took_ms))
        return [answer for where in sorted(answers) for answer in answers[where]]

    async def _send(self, postings: Sequence[Posting]) -> set[_Place]:
        door = self._door
        if door is None:
            return await self._append(postings)
        others = [posting for posting in postings if posting.key != door.key]
        theirs = [posting for posting in postings if posting.key == door.key]
        sent = await asyncio.gather(self._append(others), self._send_in_order(theirs, door))
        return set().union(*sent)

    async def _send_in_order(self, postings: Sequence[Posting], door: FrontDoor) -> set[_Place]:
        """Send one department's, some through the gateway: else its order would be left to chance."""
        places: set[_Place] = set()
        before: list[Posting] = []
        for posting in postings:
            if door.takes(posting):
                places |= await self._append(before)
                before = []
                places.add(await door.ask(posting))
            else:
                before.append(posting)
        return places | await self._append(before)

    async def _append(self, postings: Sequence[Posting]) -> set[_Place]:
        topic = self._settings.commands_topic
        sent = [
            await self._producer.send(topic, key=posting.key, value=posting.value, headers=[CONTENT_TYPE])
            for posting in postings
        ]
        return {(record.partition, record.offset) for record in await asyncio.gather(*sent)}

    async def _has_read_all(self, answers: Mapping[TopicPartition, object]) -> bool:
        """Whether nothing more stood in the topics when the last answer was read.

        The events of a command stand in one record batch, so where its first event is, the others are.
        """
        for where in answers:
            if await self._consumer.position(where) < (self._consumer.highwater(where) or 0):
                return False
        return True

    def _read(self, record: "ConsumerRecord[bytes | None, bytes | None]") -> tuple[_Place, dict[str, Any] | None]:
        """Give the place of the command that is answered, and the event; None for a dead letter."""
        if record.topic == self._settings.events_topic:
            event: dict[str, Any] = from_json(record.value or b"")
            _, offset, _ = event["id"].split("-")
            return (record.partition, int(offset)), event
        return (record.partition, int(dict(record.headers)["opd-source-offset"])), None

    def _no_answer(self, unanswered: set[_Place]) -> SimulationError:
        partition, offset = min(unanswered)
        return SimulationError(
            f"{len(unanswered)} commands without an answer after {self._timeout_s:g} s, "
            f"the first is {self._settings.commands_topic}[{partition}]@{offset}\n"
            "try: look whether an allocator runs (opd allocator) and works on that partition"
        )


@asynccontextmanager
async def _wire(settings: Settings, partitions: int, timeout_s: float, door: FrontDoor | None) -> AsyncIterator[_Wire]:
    producer = AIOKafkaProducer(**kafka_client(settings), enable_idempotence=True, acks="all")
    consumer = AIOKafkaConsumer(**kafka_client(settings), enable_auto_commit=False, auto_offset_reset="latest")
    try:
        await producer.start()
        await consumer.start()
        answering = (settings.events_topic, settings.dead_letters_topic)
        consumer.assign([TopicPartition(topic, number) for topic in answering for number in range(partitions)])
        await consumer.seek_to_end()
        for where in consumer.assignment():
            await consumer.position(where)  # the end is the one of now, not the one of the first poll
        yield _Wire(producer, consumer, settings, timeout_s, door)
    finally:
        await consumer.stop()
        await producer.stop()
