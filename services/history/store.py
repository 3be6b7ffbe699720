"""What is kept in PostgreSQL: rows and position in one transaction, so that each event counts once."""

from typing import NamedTuple

import asyncpg

from services.errors import OpdError
from services.history.partition import Partition, Position
from services.history.rows import Row, Rows

_ADDED_TO = ("token_events", "rejections", "department_events", "registrations")

_MOVE_ON = """
    UPDATE positions SET next_offset = $3, last_digest = $4, command_offset = $5, n = $6
    WHERE partition = $1 AND next_offset = $2
"""
_DEPARTMENTS = """
    INSERT INTO departments
    SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::int[], $7::text[],
        $8::date[])
    ON CONFLICT (facility_id, department_id) DO UPDATE SET
        sequence = excluded.sequence, command_offset = excluded.command_offset, n = excluded.n,
        digest = excluded.digest, day = excluded.day
"""
# Many rows come by COPY into a table of the session's own: as arrays they would cost the projector twice the time.
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
    rows = batch.rows
    settings = [(*key, *setting) for key, setting in rows.session_settings.items()]
    added = {table: getattr(rows, table) for table in _ADDED_TO}
    changed = {
        "session_settings": settings,
        "departments": batch.departments,
        "closed_pools": rows.closed_pools,
        "faults": rows.faults,
    }
    touched = list(rows.tokens())
    async with connection.transaction():
        for partition, (before, position) in batch.moved.items():
            if await connection.execute(_MOVE_ON, partition, before, *position) != "UPDATE 1":
                raise Overtaken
        for table, records in added.items():
            if records:
                await connection.copy_records_to_table(table, records=records)
        if touched:
            await connection.execute(_TOUCHED)
            await connection.copy_records_to_table("touched", records=touched)
            await connection.execute(_TOKENS)
        for table, records in changed.items():
            if records:
                await connection.execute(_CHANGED[table], *zip(*records, strict=True))
        for partition, (_, position) in batch.moved.items():
            place = f"{partition} {position.command_offset} {position.n}"
            await connection.execute("SELECT pg_notify($1, $2)", channel(schema), place)
    return {table: len(records) for table, records in (added | changed | {"tokens": touched}).items()}


async def load(connection: asyncpg.Connection, topic: str, partitions: int) -> list[Partition]:
    """Give every partition as far as it is kept; the first time, note that there is nothing yet.

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
        )
        for row in positions
    ]
