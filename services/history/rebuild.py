"""Makes the history anew from the events topic, beside the one that is there, which is read until the end."""

import asyncio
from collections.abc import Callable, Mapping

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.errors import OpdError
from services.history.metrics import HistoryMetrics
from services.history.postgres import connect, wait_for_postgres
from services.history.projector import Projector
from services.history.schema import migrate
from services.kafka import kafka_client
from services.settings import Settings
from services.topics import check_topics

_POSTGRES_WITHIN_S = 10


class RebuildRuns(OpdError):  # noqa: N818  it is what it is
    """Another rebuild of that schema runs already."""


async def rebuild(settings: Settings, tell: Callable[[int, int], None]) -> int:
    """Make the history of `settings.history_schema` anew; give how many records were read.

    A projector at work goes on meanwhile, and afterwards on the new tables.

    Args:
        settings: where Kafka and PostgreSQL are.
        tell: is told how many records are read, of how many, several times a second.

    Raises:
        OpdError: a server cannot be reached, or another rebuild runs.
    """
    partitions = (await check_topics(settings))[0].partitions
    await wait_for_postgres(settings.postgres_url, timeout_s=_POSTGRES_WITHIN_S)
    schema = settings.history_schema
    connection = await connect(settings.postgres_url, schema)
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", f"{schema}: rebuild"):
            raise RebuildRuns(f"a rebuild of {schema} runs already\ntry: wait for it")
        await migrate(settings.postgres_url, schema)
        for leftover in (f"{schema}_new", f"{schema}_old"):
            await connection.execute(f"DROP SCHEMA IF EXISTS {leftover} CASCADE")
        beside = settings.model_copy(update={"history_schema": f"{schema}_new"})
        await migrate(settings.postgres_url, beside.history_schema)
        read = await _project_to(await ends_of(settings, partitions), beside, partitions, tell)
        await _take_its_place(connection, beside, schema, partitions)
        await connection.execute(f"DROP SCHEMA {schema}_old CASCADE")
    finally:
        await connection.close()
    return read


async def _project_to(
    ends: Mapping[int, int], settings: Settings, partitions: int, tell: Callable[[int, int], None] = lambda *_: None
) -> int:
    """Project until all of that is kept; give how many records that were."""

    def reached(positions: Mapping[int, int]) -> bool:
        tell(sum(positions.values()), max(sum(ends.values()), sum(positions.values())))
        return all(positions.get(number, 0) >= end for number, end in ends.items())

    projector = Projector(settings, partitions, HistoryMetrics())
    await projector.run(until=reached)
    return sum(projector.positions.values())


async def _take_its_place(connection: asyncpg.Connection, beside: Settings, schema: str, partitions: int) -> None:
    """Catch up with what the projector at work keeps, while it is held for that moment, and change the names.

    Whoever reads the old tables reads them to the end: names are changed under nobody's feet.
    """
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {schema}.positions IN EXCLUSIVE MODE")
        kept = await connection.fetch(f"SELECT partition, next_offset FROM {schema}.positions")  # noqa: S608 - our name
        # What is there may be of another log, and further than this one goes.
        ends = await ends_of(beside, partitions)
        wanted = {row["partition"]: min(row["next_offset"], ends.get(row["partition"], 0)) for row in kept}
        await _project_to(wanted, beside, partitions)
        await connection.execute(f"ALTER SCHEMA {schema} RENAME TO {schema}_old")
        await connection.execute(f"ALTER SCHEMA {schema}_new RENAME TO {schema}")


async def ends_of(settings: Settings, partitions: int) -> dict[int, int]:
    """Give the end of each partition of the events topic."""
    places = [TopicPartition(settings.events_topic, number) for number in range(partitions)]
    consumer = AIOKafkaConsumer(**kafka_client(settings), enable_auto_commit=False)
    try:
        await consumer.start()
        return {place.partition: end for place, end in (await consumer.end_offsets(places)).items()}
    finally:
        await consumer.stop()


def run_rebuild(settings: Settings, tell: Callable[[int, int], None]) -> int:
    """Do `rebuild` in an event loop of its own."""
    return asyncio.run(rebuild(settings, tell))
