"""A gateway in memory: its own endpoints, the pure model as the engine, and PostgreSQL as the projector leaves it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import jwt
from fastapi import FastAPI

from schemas.commands import Command
from schemas.wire import read_command
from services.allocator.owner import LogUnavailable
from services.auditor.records import Kind
from services.gateway.app import make_app
from services.gateway.engine import EngineState, PartitionState
from services.gateway.estimates import Estimates
from services.gateway.feed import EventFeed, Record
from services.gateway.history import reading
from services.gateway.kafka import MaybeWritten, NotWritten
from services.gateway.keys import DEVELOPMENT_ISSUER, DEVELOPMENT_SECRET, Verifier, verifier
from services.gateway.limits import Limits
from services.gateway.metrics import GatewayMetrics
from services.gateway.parts import Parts
from services.gateway.said import EventPlace, Place, place_of
from services.gateway.writes import Writes
from services.history.postgres import connect
from services.settings import Settings
from services.trail.trail import writing
from services.vault.vault import opening
from tests.history.log import Log as HistoryLog
from tests.history.log import project
from tests.services.memory import NOON_MS, MemoryEngine

DATE, SLOT = "2026-11-23", "09:00-10:00"
WHERE = {"facility_id": "blr1", "department_id": "cardiology"}
VAULT_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
POOL = {**WHERE, "date": DATE, "slot": SLOT}


class MemoryLog:
    """The log of commands and its engine; what it says is heard before it is acknowledged, as may well be.

    Attributes:
        fails: raised instead of writing (NotWritten) or after it (MaybeWritten).
        is_silent: whether nothing is said for now.
        written: set with every command.
    """

    def __init__(self, connection: asyncpg.Connection, schema: str, feed: EventFeed) -> None:
        self.engine = MemoryEngine(timestamp_ms=NOON_MS)
        self.partition_of = self.engine.partition_of
        self.fails: Exception | None = None
        self.is_silent = False
        self.written = asyncio.Event()
        self._connection, self._schema, self._feed = connection, schema, feed
        self._history = HistoryLog(self.engine.partitions)
        self._undecided: list[tuple[int, list[Any]]] = []
        self._one_at_a_time = asyncio.Lock()

    @property
    def now(self) -> datetime:
        """The moment at which whatever comes next is written."""
        return datetime.fromtimestamp(self.engine.timestamp_ms / 1000, UTC)

    async def append(self, key: bytes, value: bytes) -> Place:
        async with self._one_at_a_time:
            if isinstance(self.fails, NotWritten):
                raise self.fails
            record, events = self.engine.take(key, value)
            self._undecided.append((record.partition, events))
            self.written.set()
            if not self.is_silent:
                await self.speak()
            if isinstance(self.fails, MaybeWritten):
                raise self.fails
            return Place(record.partition, record.offset)

    async def speak(self) -> None:
        """Say what was decided meanwhile."""
        undecided, self._undecided = self._undecided, []
        for partition, events in undecided:
            for event in events:
                self._history.append(partition, event.key, event.value)
            self._feed.take(partition, [(event.key, event.value) for event in events], at_end=True)
        await project(self._connection, self._schema, self._history, repeat(1000))

    async def command_at(self, place: Place) -> Command | None:
        commands = self.engine.topics[Kind.COMMANDS, place.partition]
        if place.offset >= len(commands):
            return None
        return read_command(commands[place.offset].key, commands[place.offset].value, NOON_MS)

    async def events_after(self, place: EventPlace) -> AsyncIterator[Record]:
        for event in list(self.engine.topics[Kind.EVENTS, place.partition]):
            found = place_of(event.value)
            assert found is not None
            if found > place:
                yield Record(event.key or b"", event.value or b"", found)

    async def state(self) -> EngineState:
        """Give what the topics hold; one allocator has all."""
        if self.is_silent:
            raise LogUnavailable("silent")
        sizes = ([len(self.engine.topics[kind, number]) for kind in Kind] for number in range(self.engine.partitions))
        partitions = [
            PartitionState(number, commands, 0, events, letters)
            for number, (commands, events, letters) in enumerate(sizes)
        ]
        return EngineState(partitions, {"allocator": list(range(self.engine.partitions))})


class World(NamedTuple):
    """A gateway for one test."""

    app: FastAPI
    http: httpx.AsyncClient
    log: MemoryLog
    parts: Parts

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.http.post(path, json=body, headers=_named(headers))

    async def put(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return await self.http.put(path, json=body, headers=_named(headers))

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers=_named(headers))

    async def register(self, doctor_id: str = "dr-rao", capacity: int = 2, **where: str) -> None:
        doctor = {**WHERE, **where, "doctor_id": doctor_id, "name": "Dr Rao"}
        answer = await self.post("/doctors", {**doctor, "schedule": [{"slot": SLOT, "capacity": capacity}]})
        assert answer.status_code == 200, answer.text

    async def book(self, patient_id: str, source: str = "ONLINE", **more: Any) -> httpx.Response:
        headers = more.pop("headers", {})
        return await self.post("/tokens", {**POOL, "patient_id": patient_id, "source": source, **more}, **headers)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@asynccontextmanager
async def gateway(postgres_url: str, schema: str, who: Verifier | None = None, **said: str) -> AsyncIterator[World]:
    """Run one; the schema is migrated. With a `redis_url` it keeps limits.

    Vault and audit trail are the run's own, unless the settings name others.
    """
    feed, metrics = EventFeed(), GatewayMetrics()
    async with AsyncExitStack() as stack:
        key_file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "vault.key"
        key_file.write_text(VAULT_KEY)
        own = {"vault_schema": "test_vault", "vault_key_file": key_file, "audit_schema": "test_audit"}
        settings = Settings.model_validate({"postgres_url": postgres_url, "history_schema": schema, **own, **said})
        connection = await connect(postgres_url, schema)
        stack.push_async_callback(connection.close)
        history = await stack.enter_async_context(reading(settings))
        limits = Limits(settings, metrics) if "redis_url" in said else None
        if limits is not None:
            stack.push_async_callback(limits.close)
        log = MemoryLog(connection, schema, feed)
        vault = await stack.enter_async_context(opening(settings))
        parts = Parts(
            writes=Writes(log, feed, history, metrics),
            history=history,
            feed=feed,
            events=log,
            vault=vault,
            trail=await stack.enter_async_context(writing(settings)),
            estimates=Estimates(history, "UTC", now=lambda: log.now),
            verifier=who or verifier(settings),
            metrics=metrics,
            partition_of=log.partition_of,
            limits=limits,
            engine=log,
        )
        app = make_app(parts)
        transport = httpx.ASGITransport(app)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://localhost"))
        yield World(app, http, log, parts)


def bearer(**claims: Any) -> dict[str, str]:
    """Give the header of a development token with these claims."""
    said = {"sub": "somebody", "facilities": "*", "iss": DEVELOPMENT_ISSUER, "aud": "opd", "exp": 4_000_000_000}
    token = jwt.encode({**said, **claims}, DEVELOPMENT_SECRET, algorithm="HS256", headers={"kid": "development"})
    return {"Authorization": f"Bearer {token}"}


Run = Callable[[Callable[[World], Awaitable[None]]], None]


def events_in(text: str) -> Iterator[str]:
    """Give the ids of a stream's events."""
    return (line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: "))
