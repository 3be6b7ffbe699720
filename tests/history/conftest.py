"""A schema of its own for every test, in the run's PostgreSQL."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from services.history.postgres import connect
from services.history.schema import migrate
from tests.servers import Database

InDatabase = Callable[[Callable[[asyncpg.Connection, str], Awaitable[Any]]], Any]


@pytest.fixture
def schema() -> str:
    return f"test_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def in_database(postgres_server: Database, schema: str) -> InDatabase:
    """Run a coroutine function with a connection to the migrated schema, and its name."""

    async def with_connection(run: Callable[[asyncpg.Connection, str], Awaitable[Any]]) -> Any:
        await migrate(postgres_server.url, schema)
        connection = await connect(postgres_server.url, schema)
        try:
            return await run(connection, schema)
        finally:
            await connection.close()

    return lambda run: asyncio.run(with_connection(run))
