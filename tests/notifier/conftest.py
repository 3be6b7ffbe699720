"""An outbox for every test, in the run's PostgreSQL, and a mail server that takes mails."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from services.history.postgres import connect
from services.history.schema import drop, migrate
from services.notifier.outbox import VERSIONS
from tests.notifier.mails import MailServer, running_mail_server
from tests.servers import Database

InOutbox = Callable[[Callable[[asyncpg.Connection], Awaitable[Any]]], Any]


@pytest.fixture
def in_outbox(postgres_server: Database) -> InOutbox:
    """Run a coroutine function with a connection to an empty outbox."""

    async def with_connection(run: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        schema = f"test_{uuid.uuid4().hex[:12]}"
        await migrate(postgres_server.url, schema, VERSIONS)
        connection = await connect(postgres_server.url, schema)
        try:
            return await run(connection)
        finally:
            await connection.close()
            await drop(postgres_server.url, schema)

    return lambda run: asyncio.run(with_connection(run))


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """A real SMTP server on a port of its own."""
    yield from running_mail_server()
