"""Commands at a steady rate, and what Kafka acknowledged of them."""

import asyncio
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b
from itertools import count
from random import Random
from typing import NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.wire import command_key
from services.allocator.kafka import partitioner
from services.settings import Settings
from tests.core.commands import make_command
from tests.core.days import MONDAY_MS, random_commands
from tests.integration.running import Sent

TICK_S = 0.05
ENDLESS = 10_000_000


class Acknowledged(NamedTuple):
    """A command that Kafka took: seconds of the monotonic clock, its offset, a digest of its value."""

    sent_at: float
    at: float
    offset: int
    digest: bytes


class Load:
    """Sends random days, now and then something unreadable, and a pulse to every partition, in a thread of its own.

    Attributes:
        acknowledged: by partition, in the order of their offsets.
        unknown: sends that failed: whether the log holds them is not known.
    """

    def __init__(self, settings: Settings, *, seed: int, rate_per_s: int, partitions: int) -> None:
        self.acknowledged: list[list[Acknowledged]] = [[] for _ in range(partitions)]
        self.unknown = 0
        self._settings = settings
        self._rng = Random(seed)
        self._commands = a_random_day(seed, self._rng)
        self._rate_per_s = rate_per_s
        self._pulses = pulse_departments(partitions)
        self._ticks = 0
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._in_thread, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, and wait for what is under way."""
        self._stopping.set()
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raise what ended it before its time."""
        if self._failure is not None:
            raise self._failure

    @property
    def count(self) -> int:
        """How many commands were acknowledged so far."""
        return sum(map(len, self.acknowledged))

    def between(self, begin: float, end: float) -> int:
        """How many commands were acknowledged in a time."""
        return sum(begin <= ack.at < end for own in self.acknowledged for ack in own)

    def first_sent_after(self, partition: int, at: float) -> int | None:
        """Give the offset of the first command sent after a time: nobody can have decided it before."""
        own = self.acknowledged[partition]
        start = bisect_left(own, at, key=lambda ack: ack.at)
        return next((ack.offset for ack in own[start:] if ack.sent_at > at), None)

    def _in_thread(self) -> None:
        try:
            asyncio.run(self._send_until_stopped())
        except Exception as error:  # noqa: BLE001  told to whoever stops it
            self._failure = error

    async def _send_until_stopped(self) -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            enable_idempotence=True,
            linger_ms=5,
            request_timeout_ms=90_000,  # longer than any fault lasts: what was sent once is in the log once
        ) as producer:
            due = time.monotonic()
            while not self._stopping.is_set():
                due = max(due + TICK_S, time.monotonic() - 1.0)  # what a fault held up is not made up for
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                for sent in self._next_tick():
                    await self._send(producer, sent)
            await producer.flush()

    def _next_tick(self) -> Iterator[Sent]:
        self._ticks += 1
        for _ in range(round(self._rate_per_s * TICK_S)):
            yield next(self._commands)
        for department in self._pulses:
            yield _pulse(department, self._ticks)

    async def _send(self, producer: AIOKafkaProducer, sent: Sent) -> None:
        sent_at = time.monotonic()
        try:
            future = await producer.send(
                self._settings.commands_topic, sent.value, key=sent.key, timestamp_ms=sent.timestamp_ms
            )
        except KafkaError:
            self.unknown += 1
            return
        future.add_done_callback(lambda done: self._note(sent_at, sent, done))

    def _note(self, sent_at: float, sent: Sent, done: "asyncio.Future[object]") -> None:
        if done.cancelled() or done.exception() is not None:
            self.unknown += 1
            return
        place = done.result()
        own = self.acknowledged[place.partition]  # type: ignore[attr-defined]  # aiokafka carries no types
        own.append(Acknowledged(sent_at, time.monotonic(), place.offset, digest(sent.value)))  # type: ignore[attr-defined]  # as above


def digest(value: bytes | None) -> bytes:
    """Give a digest of a record's value."""
    return blake2b(value or b"", digest_size=8).digest()


def a_random_day(seed: int, rng: Random) -> Iterator[Sent]:
    """Give endless random days, a few of their records unreadable."""
    for command, timestamp_ms in random_commands(seed, ENDLESS):
        yield Sent(command_key(command), command.model_dump_json(exclude_unset=True).encode(), timestamp_ms)
        if rng.random() < 0.01:
            yield Sent(rng.choice([b"h/d", b"", None]), rng.choice([b"{", b"\xff", b"[]", b""]), timestamp_ms)


def pulse_departments(partitions: int) -> list[str]:
    """Give a department of each partition, so that each has something to decide at all times."""
    partition_of = partitioner(partitions)
    found: dict[int, str] = {}
    for name in (f"p{number}" for number in count()):
        found.setdefault(partition_of(f"pulse/{name}".encode()), name)
        if len(found) == partitions:
            return [found[partition] for partition in range(partitions)]
    raise AssertionError


def _pulse(department_id: str, number: int) -> Sent:
    where = {"facility_id": "pulse", "department_id": department_id}
    what = {"doctor_id": "nobody", "date": "2026-11-23", "slot": "09:00-10:00"}
    command = make_command("CallNext", f"{department_id}-{number}", {**where, **what}, "campaign")
    return Sent(command_key(command), command.model_dump_json(exclude_unset=True).encode(), MONDAY_MS)
