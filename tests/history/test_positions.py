"""Waiting until what one wrote is there to be read."""

import asyncio
from itertools import repeat

import asyncpg

from services.history.positions import following
from services.history.postgres import connect
from tests.core.days import random_commands
from tests.history.conftest import InDatabase
from tests.history.log import Log, project
from tests.servers import Database


def test_a_waiter_is_told_when_its_event_is_kept_and_not_before(
    in_database: InDatabase, postgres_server: Database
) -> None:
    log = Log(partitions=2)
    log.say(random_commands(seed=11, count=60))

    async def run(connection: asyncpg.Connection, schema: str) -> None:
        async with following(postgres_server.url, schema) as positions:
            assert not await positions.reached(0, 0, 0, timeout_s=0.01)
            far, near = (asyncio.create_task(positions.reached(0, place, 0, timeout_s=60)) for place in (10, 0))
            part = Log(partitions=2)
            part.records = {0: log.records[0][:1], 1: []}
            await project(connection, schema, part, repeat(100))
            assert await near
            assert not far.done()
            await project(connection, schema, log, repeat(100))
            assert await far
            assert await positions.reached(0, 10, 0, timeout_s=0)
            assert await positions.reached(1, 3, 0, timeout_s=60)
            assert not await positions.reached(0, 10_000, 0, timeout_s=0.01)

    in_database(run)


def test_it_listens_again_after_postgresql_was_killed(in_database: InDatabase, postgres_server: Database) -> None:
    async def run(_connection: asyncpg.Connection, schema: str) -> None:
        log = Log()
        log.say(random_commands(seed=12, count=10))
        async with following(postgres_server.url, schema) as positions:
            waiting = asyncio.create_task(positions.reached(0, 9, 0, timeout_s=60))
            await asyncio.to_thread(postgres_server.kill)
            await asyncio.to_thread(postgres_server.start)
            connection = await connect(postgres_server.url, schema)
            await project(connection, schema, log, repeat(100))
            await connection.close()
            assert await waiting

    in_database(run)
