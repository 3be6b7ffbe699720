"""A gateway for every test, with a schema of its own in the run's PostgreSQL."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator

import pytest

from services.gateway import history
from services.history.schema import migrate
from services.trail import trail
from services.vault import vault
from tests.gateway.served import served
from tests.gateway.world import Run, World, gateway
from tests.servers import Database
from tests.waiting import WITHIN_S


@pytest.fixture(autouse=True)
def _with_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine's PostgreSQL may take longer than the 5 s after which clients are told that it is away."""
    for module, name in ((history, "_ANSWERS_WITHIN_S"), (vault, "_ANSWERS_WITHIN_S"), (trail, "WRITTEN_WITHIN_S")):
        monkeypatch.setattr(module, name, WITHIN_S)


@pytest.fixture
def in_world(postgres_server: Database) -> Run:
    """Run a coroutine function with a gateway."""

    async def with_gateway(run: Callable[[World], Awaitable[None]]) -> None:
        schema = f"test_{uuid.uuid4().hex[:12]}"
        await migrate(postgres_server.url, schema)
        async with gateway(postgres_server.url, schema) as world:
            await run(world)

    return lambda run: asyncio.run(with_gateway(run))


@pytest.fixture
def served_gateway(postgres_server: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the address of a gateway that knows the things of `KNOWN`, and waits for no position."""
    monkeypatch.setattr(history, "REACHED_WITHIN_S", 0.01)
    with served(postgres_server.url) as url:
        yield url
