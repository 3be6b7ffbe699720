"""Bookings and reads over HTTP: the gateway of a whole system, and a plain application that keeps nothing."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from statistics import median
from typing import Any, NamedTuple

import asyncpg
import httpx
from pydantic_core import from_json, to_json
from redis import Redis

from allocation_core.model import Model
from benchmarks.bench import Bench
from benchmarks.embedded import command
from benchmarks.expected import Disagreement
from benchmarks.history import until_kept
from benchmarks.http_load import Answer, Load, ask, request_to
from benchmarks.kafka import Marks
from benchmarks.latency import at_share
from benchmarks.measurement import Figures, Measurement, Table, spread
from benchmarks.processes import cpu_s
from benchmarks.workload import workload
from services.history.postgres import connect
from services.stack import Stack
from services.stack.ports import LOOPBACK, free_ports
from services.stack.process import Process
from services.stack.system import Service, System

CONNECTIONS = 64
CREATED, OK = 201, 200
_ENGINE = [Service("allocator"), Service("history"), Service("gateway")]
_STARTS_WITHIN_S = 30

_COLUMNS = (
    "",
    "connections",
    "a second",
    "of the plain one",
    "p50 ms",
    "p99 ms",
    "CPU µs each",
    "CPU µs by process",
)
_BOOKING_NOTE = (
    "Each connection asks its next when the last is answered. The gateway answers when Kafka has the command, Redis "
    "its outcome, Kafka the events and the audit trail a line; the plain one when its dictionaries have it. All share "
    "the cores, the client too, whose CPU is not in the sum. Every answer is held to the model."
)
_READING_NOTE = (
    "From PostgreSQL, with the token's story, its position and an estimate; the plain one gives the token alone. "
    "Every answer is held to the model."
)

Data = dict[str, Any]


class Expected:
    """What the model says of bookings, in whatever order a door let them in: their numbers tell that."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._model = Model()
        self._commands = 0
        self._stand: dict[str, Data] = {}

    def register(self, doctor: Data) -> None:
        """Take a doctor for registered."""
        self._decide("RegisterDoctor", doctor)

    def hold_bookings(self, asked: Sequence[Data], answers: Sequence[Answer]) -> list[str]:
        """Hold answers to the model, and give the ids of their tokens.

        Raises:
            Disagreement: one is not what the model says.
        """
        told = [(data, self._body(answer, CREATED)) for data, answer in zip(asked, answers, strict=True)]
        told.sort(key=lambda each: (each[1]["department_id"], each[1]["date"], each[1]["token_no"]))
        for data, token in told:
            self._hold(token, self._decide("RequestToken", data), "position")
        return [token["token_id"] for _, token in told]

    def hold_reads(self, token_ids: Sequence[str], answers: Sequence[Answer]) -> None:
        """Hold answers to how the model has these tokens.

        Raises:
            Disagreement: one is not what the model says.
        """
        for token_id, answer in zip(token_ids, answers, strict=True):
            self._hold(self._body(answer, OK), self._stand[token_id])

    def _decide(self, kind: str, data: Data) -> Data:
        self._commands += 1
        department = data["department_id"]
        more = {name: value for name, value in data.items() if name not in {"facility_id", "department_id"}}
        said: Data = {}
        for event in self._model.decide(command(self._commands, kind, department, **more), time.time_ns() // 10**6):
            said = event.data
            if "token_id" in said:
                self._stand[said["token_id"]] = said
        return said

    def _body(self, answer: Answer, status: int) -> Data:
        if answer.status != status:
            raise Disagreement(f"{self._who} answers {answer.status} {answer.body.decode()}, and not {status}")
        body: Data = from_json(answer.body)
        return body

    def _hold(self, told: Data, wanted: Data, *more: str) -> None:
        for name in ("token_id", "patient_id", "source", "status", "doctor_id", *more):
            if told.get(name) != wanted.get(name):
                token_id = told.get("token_id")
                raise Disagreement(f"{self._who}: {name} of {token_id} is {told.get(name)}, not {wanted.get(name)}")


@dataclass(frozen=True)
class _Door:
    """Who answers.

    Attributes:
        name: in results.
        title: for tables.
        url: where.
        parts: the processes whose use of the processor counts, by part.
        expected: what its answers are held to.
        bookings: those that it was not asked for yet.
    """

    name: str
    title: str
    url: str
    parts: dict[str, int]
    expected: Expected
    bookings: Iterator[Data]

    async def registered(self, doctors: Iterable[Data]) -> None:
        """Register doctors."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            for doctor in doctors:
                (await client.post("/doctors", json=doctor)).raise_for_status()
                self.expected.register(doctor)

    async def book(self, count: int, connections: int) -> tuple[Figures, list[str]]:
        """Ask for so many tokens; give figures and the tokens' ids."""
        asked = list(islice(self.bookings, count))
        figures, load = await self._asked([("POST", "/tokens", to_json(data)) for data in asked], connections)
        return figures, self.expected.hold_bookings(asked, load.answers)

    async def read(self, token_ids: Sequence[str], connections: int) -> Figures:
        """Ask how tokens stand."""
        figures, load = await self._asked([("GET", f"/tokens/{each}", b"") for each in token_ids], connections)
        self.expected.hold_reads(token_ids, load.answers)
        return figures

    async def _asked(self, asked: Iterable[tuple[str, str, bytes]], connections: int) -> tuple[Figures, Load]:
        requests = [request_to(self.url, *each) for each in asked]
        before, client_s = cpu_s(self.parts), time.process_time()
        load = await ask(self.url, requests, connections=connections)
        client_s, after = time.process_time() - client_s, cpu_s(self.parts)
        used_s = {part: after[part] - used for part, used in before.items()} | {"client": client_s}
        took_ms = sorted(answer.took_ms for answer in load.answers)
        figures = {
            "per_second": round(len(requests) / load.took_s, 1),
            "p50_ms": round(at_share(took_ms, 0.5), 2),
            "p99_ms": round(at_share(took_ms, 0.99), 2),
            "cpu_us": {part: round(used / len(requests) * 1e6, 1) for part, used in used_s.items()},
        }
        return figures, load


class _Kept(NamedTuple):
    """How far PostgreSQL is behind the events topic."""

    marks: Marks
    connection: asyncpg.Connection
    projector: Process

    async def until_all(self) -> None:
        """Wait until all that was said is there to be read."""
        await until_kept(self.connection, await self.marks.events(), self.projector)


async def measure(bench: Bench) -> Figures:
    """Ask both doors in turn, so many times."""
    count = bench.options.commands // 20
    alone = count // 10
    runs: list[Figures] = []
    async with AsyncExitStack() as cleanup:
        plain = await cleanup.enter_async_context(plain_door(bench))
        gateway, kept = await cleanup.enter_async_context(_gateway_door(bench))
        for number in range(-1, bench.options.runs):  # the first is to warm up
            run: Figures = {}
            for door in (plain, gateway):
                booked, token_ids = await door.book(count, CONNECTIONS)
                booked_alone, _ = await door.book(alone, 1)
                if door is gateway:
                    await kept.until_all()
                run[door.name] = {
                    "booking": booked,
                    "booking_alone": booked_alone,
                    "reading": await door.read(token_ids, CONNECTIONS),
                    "reading_alone": await door.read(token_ids[:alone], 1),
                }
                if number >= 0:
                    bench.say(f"run {number + 1}: {door.title}: {booked['per_second']:,.0f} bookings a second")
            if number >= 0:
                runs.append(run)
    titles = {door.name: door.title for door in (plain, gateway)}
    return {"connections": CONNECTIONS, "bookings": count, "alone": alone, "titles": titles, "runs": runs}


def _commands(bench: Bench) -> tuple[list[Data], Iterator[Data]]:
    """Give doctors and bookings: those of the commands that everything here decides, but for tomorrow."""
    asked = bench.options.commands * (bench.options.runs + 1)  # a good deal more than is used
    sent = workload(asked, first_date=f"{datetime.now(UTC).date() + timedelta(days=1)}")
    read = (from_json(each.value) for each in sent)
    doctors = []
    for first in read:
        if first["type"] != "opd.RegisterDoctor.v1":
            break
        doctors.append(first["data"])
    return doctors, (each["data"] for each in read if each["type"] == "opd.RequestToken.v1")


@asynccontextmanager
async def plain_door(bench: Bench) -> AsyncIterator[_Door]:
    """Run the plain application."""
    [port] = free_ports(1)
    url = f"http://{LOOPBACK}:{port}"
    process = Process("plain_api", bench.folder / "plain_api.log")
    process.start([sys.executable, "-m", "benchmarks.peers.plain_api", str(port)])
    try:
        process.wait_until(
            partial(_probe, url), f"GET {url}/docs", timeout_s=_STARTS_WITHIN_S, hint=f"read {process.log}"
        )
        doctors, bookings = _commands(bench)
        title = "a plain FastAPI application, in memory"
        door = _Door("plain", title, url, {"server": process.pid}, Expected(title), bookings)
        await door.registered(doctors)
        yield door
    finally:
        process.stop()


def _probe(url: str) -> None:
    httpx.get(f"{url}/docs").raise_for_status()


@asynccontextmanager
async def _gateway_door(bench: Bench) -> AsyncIterator[tuple[_Door, _Kept]]:
    """Run the gateway, and all that it needs."""
    settings = bench.settings("gateway").model_copy(update={"history_schema": "bench_gateway"})
    with Redis.from_url(bench.stack.redis) as redis:
        redis.flushall()
    stack = Stack(
        bench.folder / "gateway", kafka=bench.stack.kafka, redis=bench.stack.redis, postgres=bench.postgres.url
    )
    system = System(stack, settings, _ENGINE, partitions=bench.options.partitions)
    with ExitStack() as cleanup:
        await asyncio.to_thread(cleanup.enter_context, system)
        parts = {name: process.pid for name, process in system.processes.items()}
        parts |= bench.stack.pids | {"postgres": bench.postgres.process.pid}
        doctors, bookings = _commands(bench)
        title = "opd gateway"
        door = _Door("gateway", title, system.http["gateway"], parts, Expected(title), bookings)
        await door.registered(doctors)
        async with Marks(system.settings) as marks:
            connection = await connect(bench.postgres.url, settings.history_schema)
            try:
                yield door, _Kept(marks, connection, system.processes["history"])
            finally:
                await connection.close()


def show(figures: Figures) -> list[Table]:
    """Give a row for each door and load, and how the gateway compares; ratios are taken within each run."""
    runs, titles = figures["runs"], figures["titles"]
    connections = {"": figures["connections"], "_alone": 1}
    tables = []
    for what, title, note in (
        ("booking", "POST /tokens, with the outcome", _BOOKING_NOTE),
        ("reading", "GET /tokens/{token_id}", _READING_NOTE),
    ):
        rows = []
        for load, count in connections.items():
            for name in titles:
                own = [run[name][f"{what}{load}"] for run in runs]
                other = [run["plain"][f"{what}{load}"] for run in runs]
                shares = [one["per_second"] / two["per_second"] for one, two in zip(own, other, strict=True)]
                cpu_us = {part: median(each["cpu_us"][part] for each in own) for part in own[0]["cpu_us"]}
                rows.append(
                    [
                        titles[name],
                        f"{count}",
                        spread("{:,.0f}", [each["per_second"] for each in own]),
                        spread("{:.2f}", shares),
                        spread("{:.1f}", [each["p50_ms"] for each in own]),
                        spread("{:.1f}", [each["p99_ms"] for each in own]),
                        # At one connection most of it is what everybody does while nothing is asked.
                        *(_cpu(cpu_us) if count > 1 else ("", "")),
                    ]
                )
        tables.append(Table(f"{title}: medians of {len(runs)} runs (lowest to highest)", _COLUMNS, rows, note))
    return tables


def _cpu(used_us: Mapping[str, float]) -> tuple[str, str]:
    total = sum(used for part, used in used_us.items() if part != "client")
    return f"{total:,.0f}", " + ".join(f"{part} {used:,.0f}" for part, used in used_us.items())


GATEWAY = Measurement("gateway", "bookings and reads over HTTP, beside a plain application", measure, show)
