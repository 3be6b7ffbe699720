"""What is kept in PostgreSQL: rows and position in one transaction, so that each event counts once."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg

from services.errors import OpdError
from services.history.partition import Partition, Position
from services.history.rows import Read, Row, Rows, read_quickly

_ADDED_TO = ("token_events", "rejections", "department_events", "registrations")

# What is told is heard when the transaction is over.
_MOVE_ON = """
    UPDATE positions AS known
    SET next_offset = moved.next_offset, last_digest = moved.last_digest, command_offset = moved.command_offset,
        n = moved.n
    FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bigint[], $7::int[])
        AS moved (partition, before, next_offset, last_digest, command_offset, n)
    WHERE known.partition = moved.partition AND known.next_offset = moved.before
    RETURNING pg_notify($1, format('%s %s %s', known.partition, known.command_offset, known.n))
"""
_DEPARTMENTS = """
    INSERT INTO departments
    SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::int[], $7::text[],
        $8::date[])
    ON CONFLICT (facility_id, department_id) DO UPDATE SET
        sequence = excluded.sequence, command_offset = excluded.command_offset, n = excluded.n,
        digest = excluded.digest, day = excluded.day
"""
# Tokens that may be there already come by COPY into a table of the session's own: as arrays they would cost the
# projector twice the time.
_TOUCHED = "CREATE TEMPORARY TABLE IF NOT EXISTS touched (LIKE tokens) ON COMMIT DELETE ROWS"
_TOKENS = """
    INSERT INTO tokens SELECT * FROM touched
    ON CONFLICT (token_id) DO UPDATE SET
        source = excluded.source, status = excluded.status, doctor_id = excluded.doctor_id,
        sequence = excluded.sequence, times_preempted = tokens.times_preempted + excluded.times_preempted,
        seated_at = coalesce(tokens.seated_at, excluded.seated_at),
        checked_in_at = coalesce(tokens.checked_in_at, excluded.checked_in_at),
        called_at = coalesce(tokens.called_at, excluded.called_at),
        ended_at = coalesce(tokens.ended_at, excluded.ended_at)
"""
_SESSION_SETTINGS = """
    INSERT INTO session_settings AS known
    SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::text[], $5::text[], $6::int[], $7::boolean[])
    ON CONFLICT (facility_id, department_id, date, slot, doctor_id) DO UPDATE SET
        capacity = coalesce(excluded.capacity, known.capacity),
        available = coalesce(excluded.available, known.available)
"""
# The first word counts: a pool closes once, and a record's first fault leads to its others.
_CLOSED_POOLS = """
    INSERT INTO closed_pools SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::text[], $5::timestamptz[])
    ON CONFLICT DO NOTHING
"""
_FAULTS = "INSERT INTO faults SELECT * FROM unnest($1::int[], $2::bigint[], $3::text[]) ON CONFLICT DO NOTHING"
_CHANGED = {
    "session_settings": _SESSION_SETTINGS,
    "departments": _DEPARTMENTS,
    "closed_pools": _CLOSED_POOLS,
    "faults": _FAULTS,
}


class OtherLog(OpdError):  # noqa: N818  it is what it is
    """What PostgreSQL holds is of another log than the one that Kafka holds: nothing was touched."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"this PostgreSQL holds the history of another log: {text}\n"
            "try: look whether OPD_POSTGRES_URL, OPD_HISTORY_SCHEMA and OPD_KAFKA_BOOTSTRAP_SERVERS belong together; "
            "if Kafka is right, opd history rebuild"
        )


class Overtaken(Exception):  # noqa: N818  it is what happened
    """Somebody else moved the position: what is kept must be looked at anew. Nothing was written."""


class Batch(NamedTuple):
    """What one transaction writes.

    Attributes:
        rows: what the events became.
        departments: the rows of those that were touched.
        moved: by partition, the offset that it went on from, and where it is behind these rows.
    """

    rows: Rows
    departments: list[Row]
    moved: dict[int, tuple[int, Position]]


def channel(schema: str) -> str:
    """Where a schema's new positions are told, as `{partition} {command_offset} {n}`."""
    return f"{schema}_positions"


async def write(connection: asyncpg.Connection, schema: str, batch: Batch) -> dict[str, int]:
    """Write all of it, or nothing; give the number of rows by table.

    Raises:
        Overtaken: a partition is not where it was.
    """
    added = {table: getattr(batch.rows, table) for table in _ADDED_TO}
    changed = _changed(batch)
    issued, touched = batch.rows.tokens()
    try:
        async with _transaction(connection, schema, batch.moved):
            await _add(connection, added | {"tokens": issued})
            await _change(connection, changed, touched)
    except asyncpg.UniqueViolationError:  # a token is issued again: no allocator says so, and it holds nobody up
        async with _transaction(connection, schema, batch.moved):
            await _add(connection, added)
            await _change(connection, changed, issued + touched)
    return {table: len(records) for table, records in (added | changed | {"tokens": issued + touched}).items()}


def _changed(batch: Batch) -> dict[str, list[Row]]:
    return {
        "session_settings": [(*key, *setting) for key, setting in batch.rows.session_settings.items()],
        "departments": batch.departments,
        "closed_pools": batch.rows.closed_pools,
        "faults": batch.rows.faults,
    }


@asynccontextmanager
async def _transaction(
    connection: asyncpg.Connection, schema: str, moved: Mapping[int, tuple[int, Position]]
) -> AsyncIterator[None]:
    """Begin with the positions: who was overtaken writes nothing else."""
    positions = [(partition, before, *position) for partition, (before, position) in moved.items()]
    async with connection.transaction():
        if len(await connection.fetch(_MOVE_ON, channel(schema), *zip(*positions, strict=True))) < len(moved):
            raise Overtaken
        yield


async def _add(connection: asyncpg.Connection, added: Mapping[str, list[Row]]) -> None:
    for table, records in added.items():
        if records:
            await connection.copy_records_to_table(table, records=records)


async def _change(connection: asyncpg.Connection, changed: Mapping[str, list[Row]], touched: list[Row]) -> None:
    if touched:
        await connection.execute(_TOUCHED)
        await connection.copy_records_to_table("touched", records=touched)
        await connection.execute(_TOKENS)
    for table, records in changed.items():
        if records:
            await connection.execute(_CHANGED[table], *zip(*records, strict=True))


async def load(
    connection: asyncpg.Connection, topic: str, partitions: int, read: Read = read_quickly
) -> list[Partition]:
    """Give every partition as far as it is kept; the first time, note that there is nothing yet.

    Their events are read by `read`.

    Raises:
        OtherLog: what is kept is of another topic.
    """
    async with connection.transaction():
        await connection.executemany(
            "INSERT INTO positions VALUES ($1, $2, 0, NULL, -1, -1) ON CONFLICT DO NOTHING",
            [(number, topic) for number in range(partitions)],
        )
        positions = await connection.fetch("SELECT * FROM positions ORDER BY partition")
        departments = await connection.fetch("SELECT * FROM departments")
    if len(positions) > partitions or any(row["topic"] != topic for row in positions):
        raise OtherLog(f"of {positions[0]['topic']} with {len(positions)} partitions; {topic} has {partitions}")
    return [
        Partition(
            row["partition"],
            Position(row["next_offset"], row["last_digest"], row["command_offset"], row["n"]),
            [each for each in departments if each["partition"] == row["partition"]],
            read,
        )
        for row in positions
    ]
