"""Who read or changed what through the gateway is in the audit trail, and nobody is shown anything that is not."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from services.gateway.permissions import UNAUDITED, Action
from services.history.postgres import connect
from services.history.schema import migrate
from services.settings import Settings
from services.stack import PostgresServer
from services.trail.chain import digest_of
from services.trail.check import check
from services.trail.trail import NotNoted, Trail
from tests.gateway.test_permissions import ASK, MINE, OTHERS
from tests.gateway.world import POOL, World, bearer, gateway

Noting = Callable[[Callable[[World], Awaitable[None]]], list[asyncpg.Record]]


@pytest.fixture
def noting(postgres_server: PostgresServer) -> Noting:
    """Run a coroutine function with a gateway; give the rows of the trail, which is whole."""
    schema = f"test_{uuid.uuid4().hex[:12]}"
    settings = Settings(postgres_url=postgres_server.url, audit_schema=f"{schema}_audit")

    async def noted(run: Callable[[World], Awaitable[None]]) -> list[asyncpg.Record]:
        await migrate(postgres_server.url, schema)
        async with gateway(postgres_server.url, schema, audit_schema=settings.audit_schema) as world:
            await run(world)
        assert (await check(settings)).fault is None
        connection = await connect(postgres_server.url, settings.audit_schema)
        rows: list[asyncpg.Record] = await connection.fetch("SELECT * FROM trail ORDER BY number")
        await connection.close()
        return rows

    return lambda run: asyncio.run(noted(run))


def test_every_action_is_noted_but_those_that_tell_of_nobody(noting: Noting) -> None:
    async def run(world: World) -> None:
        await world.register(capacity=50)
        await world.register("dr-iyer", capacity=50)
        for patient in (MINE, OTHERS):
            await world.book(patient)
        for ask in ASK.values():
            await ask(world, bearer(sub="the-admin", role="admin"), True)

    noted = {f"{row['method']} {row['route']}" for row in noting(run)}
    assert noted == set(Action) - UNAUDITED


def test_a_row_says_who_did_what_where_to_whom_and_what_came_of_it(noting: Noting) -> None:
    async def run(world: World) -> None:
        await world.register()
        desk = bearer(sub="desk-1", role="reception")
        booked = await world.post("/tokens", {**POOL, "patient_id": "canary", "source": "WALK_IN"}, **desk)
        await world.get(booked.headers["Location"], **desk)
        await world.get("/tokens?facility_id=blr1", **{"OPD-Patient-Id": "canary"}, **desk)
        elsewhere = bearer(sub="stranger", role="reception", facilities=["elsewhere"])
        await world.get(booked.headers["Location"], **elsewhere)
        await world.get(booked.headers["Location"], Authorization="Bearer forged")

    rows = noting(run)
    assert "canary" not in repr(rows)
    said: list[Any] = sorted(
        (row["sub"], row["method"], row["route"], row["department_id"], row["token_id"], row["patient"], row["status"])
        for row in rows
        if row["sub"] != "development"
    )
    token_id, patient = "blr1.cardiology.20261123.1", digest_of("blr1", "canary")
    assert said == [
        ("desk-1", "GET", "/tokens", None, None, patient, 200),
        ("desk-1", "GET", "/tokens/{token_id}", "cardiology", token_id, None, 200),
        ("desk-1", "POST", "/tokens", "cardiology", None, patient, 201),
        ("stranger", "GET", "/tokens/{token_id}", "cardiology", token_id, None, 403),
    ]
    [booking] = [row for row in rows if (row["sub"], row["method"]) == ("desk-1", "POST")]
    assert booking["command"].endswith("-1"), "the second command of its partition"


def test_what_cannot_be_noted_is_not_shown_and_a_booking_goes_on(
    noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_trail: Trail, _noted: object) -> None:
        raise NotNoted

    async def run(world: World) -> None:
        await world.register()
        with monkeypatch.context() as patched:
            patched.setattr(Trail, "write", refuse)
            booked = await world.book("p1")
            assert booked.status_code == 201
            read = await world.get(booked.headers["Location"])
            assert (read.status_code, read.json()["type"]) == (503, "/problems/audit-unavailable")
            assert "p1" not in read.text
            patched.setattr(Trail, "is_full", True)
            assert (await world.book("p2")).status_code == 503
        assert [each["patient_id"] for each in (await world.get("/tokens?facility_id=blr1")).json()["tokens"]] == ["p1"]

    noting(run)
