"""How often one may ask: counted in a real Redis, by whoever asks and by where they are."""

import asyncio
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from redis import Redis
from starlette.requests import Request
from starlette.responses import JSONResponse

from services.gateway import limits as module
from services.gateway.identity import Identity
from services.gateway.limits import Limits
from services.gateway.metrics import GatewayMetrics
from services.gateway.permissions import Action, Role
from services.gateway.problems import Problem
from services.gateway.server import http_config, is_limited
from services.history.schema import migrate
from services.settings import Settings
from services.stack import PostgresServer
from services.stack.ports import LOOPBACK, free_ports
from tests.gateway.world import World, bearer, gateway
from tests.waiting import WITHIN_S, until


@pytest.fixture
def redis_url(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Redis that is waited for: on a busy machine it may not answer in time, and then everybody is let in."""
    monkeypatch.setattr(module, "ANSWERS_WITHIN_S", WITHIN_S)
    return redis_url


def run_limited(
    postgres: PostgresServer, redis_url: str, run: Callable[[World], Awaitable[None]], **rates: str
) -> None:
    async def with_gateway() -> None:
        schema = f"test_{uuid.uuid4().hex[:12]}"
        await migrate(postgres.url, schema)
        async with gateway(postgres.url, schema, None, redis_url=redis_url, **rates) as world:
            await run(world)

    asyncio.run(with_gateway())


def test_too_many_bookings_of_one_caller_are_refused_and_nothing_else_is(
    postgres_server: PostgresServer, redis_url: str
) -> None:
    async def run(world: World) -> None:
        await world.register(capacity=50)
        desk = bearer(role="reception", sub="desk-1")
        for left in (2, 1, 0):
            booked = await world.book(f"p{left}", headers=desk)
            assert booked.status_code == 201
            assert booked.headers["RateLimit"].endswith(f'"booking";r={left}')
        refused = await world.book("p3", headers=desk)
        assert refused.status_code == 429
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.json()["type"] == "/problems/rate-limited"
        assert refused.headers["RateLimit-Policy"] == '"address";q=6000;w=60, "booking";q=3;w=60'
        wait_s = int(refused.headers["Retry-After"])
        assert 1 <= wait_s <= 60
        assert refused.headers["RateLimit"].endswith(f'"booking";r=0;t={wait_s}')
        assert (await world.get(refused.json()["type"])).json()["status"] == 429
        assert (await world.get("/departments?facility_id=blr1", **desk)).status_code == 200
        assert (await world.book("p3", headers=bearer(role="reception", sub="desk-2"))).status_code == 201
        assert world.parts.metrics.registry.get_sample_value("opd_rate_limited_total", {"policy": "booking"}) == 1
        assert not [name for name in (await world.http.get("/metrics")).headers if name.startswith("ratelimit")]

    run_limited(postgres_server, redis_url, run, rate_limit_booking="3/minute")
    with Redis.from_url(redis_url) as redis:
        kept = list(redis.scan_iter("*"))
    assert kept
    assert all(key.startswith(b"opd-limit:") for key in kept)
    assert not [key for key in kept if b"desk" in key or b"127.0" in key], "nobody's name stands there"


def test_an_address_that_asks_too_often_is_refused_at_the_door(postgres_server: PostgresServer, redis_url: str) -> None:
    async def run(world: World) -> None:
        answers = [await world.get("/departments?facility_id=blr1") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[-1].headers["Connection"] == "close"
        assert answers[-1].headers["RateLimit"].startswith('"address";r=0;t=')
        assert (await world.get("/events?facility_id=blr1&department_id=cardiology")).status_code == 429
        assert (await world.get("/health/live")).status_code == 200, "whoever looks after it is never refused"

    run_limited(postgres_server, redis_url, run, rate_limit_address="2/minute")


class Counter:
    """One gateway's limits, without the gateway."""

    def __init__(self, redis_url: str, **rates: str) -> None:
        self.metrics = GatewayMetrics()
        self.limits = Limits(Settings.model_validate({"redis_url": redis_url, **rates}), self.metrics)

    async def is_let_in(self, sub: str = "somebody", role: Role = Role.RECEPTION, action: Action = Action.BOOK) -> bool:
        claims: dict[str, Any] = {"patient_id": "p1"} if role is Role.PATIENT else {}
        return await self._let_in(
            self.limits.count_caller({}, Identity(sub=sub, role=role, facilities="*", **claims), action)
        )

    async def is_address_let_in(self, address: str) -> bool:
        return await self._let_in(self.limits.count_address({"client": (address, 1)}))

    async def _let_in(self, counting: Awaitable[None]) -> bool:
        try:
            await counting
        except Problem:
            return False
        return True

    @property
    def failures(self) -> float | None:
        return self.metrics.registry.get_sample_value("opd_rate_limit_failures_total")


def test_gateways_count_together_and_a_flood_costs_redis_nothing(redis_url: str) -> None:
    async def run() -> None:
        first, second = (Counter(redis_url, rate_limit_booking="4/minute") for _ in range(2))
        let_in = [await each.is_let_in() for _ in range(3) for each in (first, second)]
        assert let_in == [True] * 4 + [False] * 2
        with Redis.from_url(redis_url) as redis:
            before = _scripts(redis)
            assert not [number for number in range(100) if await first.is_let_in()]
            assert _scripts(redis) == before
        for each in (first, second):
            await each.limits.close()

    asyncio.run(run())


def _scripts(redis: Redis) -> int:
    return int(redis.info("commandstats")["cmdstat_evalsha"]["calls"])


def test_a_portal_has_a_limit_of_its_own_and_all_addresses_of_a_network_have_one(redis_url: str) -> None:
    async def run() -> None:
        rates = {"rate_limit_booking": "1/hour", "rate_limit_subject": "1/hour", "rate_limit_portal": "3/hour"}
        counter = Counter(redis_url, rate_limit_address="2/hour", **rates)
        assert [await counter.is_let_in(role=Role.PORTAL) for _ in range(4)] == [True, True, True, False]
        assert [await counter.is_let_in("patient-1", Role.PATIENT) for _ in range(2)] == [True, False]
        assert await counter.is_let_in("patient-1", Role.PATIENT, Action.READ_TOKEN), "bookings are counted apart"
        addresses = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "2001:db8:0:1::1", "10.0.0.1", "10.0.0.2"]
        assert [await counter.is_address_let_in(each) for each in addresses] == [True, True, False, True, True, True]
        await counter.limits.close()

    asyncio.run(run())


def test_a_refusal_ends_with_its_time(redis_url: str) -> None:
    async def run() -> None:
        counter = Counter(redis_url, rate_limit_booking="1/second")
        deadline = time.monotonic() + WITHIN_S
        while await counter.is_let_in():  # twice within a second, that is
            assert time.monotonic() < deadline
        while not await counter.is_let_in():
            assert time.monotonic() < deadline
        await counter.limits.close()

    asyncio.run(run())


def test_without_redis_everybody_is_let_in_and_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        connections = 0
        monkeypatch.setattr(module, "AWAY_FOR_S", 3600.0)

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.read()
            writer.close()

        async with await asyncio.start_server(say_nothing, LOOPBACK, 0) as silent:
            for port in (silent.sockets[0].getsockname()[1], *free_ports(1)):
                counter = Counter(f"redis://{LOOPBACK}:{port}", rate_limit_booking="1/hour")
                began = time.monotonic()
                assert [await counter.is_let_in() for _ in range(50)] == [True] * 50
                assert time.monotonic() - began < 10
                assert counter.failures == 1, "Redis was asked once, and then left alone"
                counter.limits._away_until_s = 0.0
                assert await counter.is_let_in()
                assert counter.failures == 2, "after a while it is asked again"
                await counter.limits.close()
        assert connections == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    ("rate_limits", "jwks", "limited"),
    [("auto", None, False), ("auto", "keys.json", True), ("on", None, True), ("off", "keys.json", False)],
)
def test_requests_are_counted_where_there_are_keys_or_where_one_says_so(
    rate_limits: str, jwks: str | None, *, limited: bool
) -> None:
    assert is_limited(Settings.model_validate({"rate_limits": rate_limits, "jwt_jwks": jwks})) is limited


@contextmanager
def serving(settings: Settings) -> Any:
    """Say to each client who they are, as the gateway sees it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await JSONResponse({"client": Request(scope).client})(scope, receive, send)

    [port] = free_ports(1)
    config = http_config(settings.model_copy(update={"http_port": port}), app)
    config.lifespan = "off"
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, "it listens")
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(("trusted", "seen"), [(None, LOOPBACK), (LOOPBACK, "203.0.113.7"), ("10.0.0.0/8", LOOPBACK)])
def test_a_proxy_is_believed_only_where_it_is_named(trusted: str | None, seen: str) -> None:
    with serving(Settings(trusted_proxies=trusted)) as url:
        answer = httpx.get(url, headers={"X-Forwarded-For": "203.0.113.7"})
    assert answer.json()["client"][0] == seen
