"""Whether PostgreSQL equals the log: what is kept, row for row, with what the same records lead to."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

import asyncpg

from services.errors import OpdError
from services.history.metrics import HistoryMetrics
from services.history.postgres import LOST, connect, wait_for_postgres
from services.history.projector import Projector
from services.history.rebuild import ends_of
from services.history.rows import read_keepable
from services.history.schema import migrate
from services.history.store import OtherLog
from services.settings import Settings
from services.topics import check_topics

# Each table, and by what its rows are named.
_KEYS = {
    "positions": "partition",
    "departments": "facility_id, department_id",
    "token_events": "partition, command_offset, n",
    "rejections": "partition, command_offset, n",
    "department_events": "partition, command_offset, n",
    "tokens": "token_id",
    "registrations": "facility_id, department_id, doctor_id, sequence",
    "session_settings": "facility_id, department_id, date, slot, doctor_id",
    "closed_pools": "facility_id, department_id, date, slot",
    "faults": "partition, event_offset",
}
_POSTGRES_WITHIN_S = 10

_Row = tuple[Any, ...]


class Compared(NamedTuple):
    """What was found.

    Attributes:
        records: of the events topic, that PostgreSQL keeps.
        rows: that were compared, up to the fault if there is one.
        fault: the first row that is not what follows from them, by its table and key; None if all are.
    """

    records: int
    rows: int
    fault: str | None

    @property
    def said(self) -> str:
        """What is claimed, and over how much."""
        return f"PostgreSQL equals the log, {self.rows:,} rows of {self.records:,} records"


async def compare(settings: Settings) -> Compared:
    """Compare PostgreSQL, as it stands at the call, with the log; a projector at work goes on meanwhile.

    Raises:
        OpdError: a server cannot be reached, or another comparison runs.
    """
    partitions = (await check_topics(settings))[0].partitions
    await wait_for_postgres(settings.postgres_url, timeout_s=_POSTGRES_WITHIN_S)
    beside = settings.model_copy(update={"history_schema": f"{settings.history_schema}_compared"})
    try:
        kept = await connect(settings.postgres_url, settings.history_schema)
        anew = await connect(settings.postgres_url, beside.history_schema)
        try:
            if not await anew.fetchval(
                "SELECT pg_try_advisory_lock(hashtext($1))", f"{beside.history_schema}: compare"
            ):
                raise OpdError(f"{settings.history_schema} is being compared already\ntry: wait for that")
            await anew.execute(f"DROP SCHEMA IF EXISTS {beside.history_schema} CASCADE")
            await migrate(settings.postgres_url, beside.history_schema)
            try:
                return await _compare(kept, anew, beside, partitions)
            finally:
                await anew.execute(f"DROP SCHEMA {beside.history_schema} CASCADE")
        finally:
            await kept.close()
            await anew.close()
    except LOST as error:
        raise OpdError(f"the history cannot be compared: {type(error).__name__}\ntry: opd history migrate") from None


async def _compare(kept: asyncpg.Connection, anew: asyncpg.Connection, beside: Settings, partitions: int) -> Compared:
    async with kept.transaction(isolation="repeatable_read", readonly=True):
        rows = await kept.fetch("SELECT partition, next_offset FROM positions")
        ends = {row["partition"]: row["next_offset"] for row in rows}
        records, compared = sum(ends.values()), 0
        written = await ends_of(beside, partitions)
        if any(end > written.get(partition, 0) for partition, end in ends.items()):
            return Compared(records, 0, f"positions are behind the end of {beside.events_topic}")
        try:
            await _project(beside, partitions, ends)
        except OtherLog as error:
            return Compared(records, 0, str(error).splitlines()[0])
        async with anew.transaction(readonly=True):
            for table, key in _KEYS.items():
                async with aclosing(_pairs(kept, anew, table, key)) as pairs:
                    async for ours, theirs in pairs:
                        if ours != theirs:
                            return Compared(records, compared, _difference(table, ours, theirs))
                        compared += 1
    return Compared(records, compared, None)


async def _project(beside: Settings, partitions: int, ends: Mapping[int, int]) -> None:
    # By the contract's reader alone: that of a projector at work is held to it here, on every record.
    projector = Projector(beside, partitions, HistoryMetrics(), ends=ends, read=read_keepable)
    await projector.run(until=lambda at: all(at.get(number, 0) >= end for number, end in ends.items()))


async def _pairs(
    kept: asyncpg.Connection, anew: asyncpg.Connection, table: str, key: str
) -> AsyncGenerator[tuple[_Row | None, _Row | None], None]:
    """Give the rows of both side by side: their keys, and a digest of all of them."""
    query = f"SELECT {key}, md5(each::text) FROM {table} AS each ORDER BY {key}"  # noqa: S608  ours
    sides = [aiter(connection.cursor(query, prefetch=2000)) for connection in (kept, anew)]
    while True:
        ours, theirs = [await anext(side, None) for side in sides]
        if ours is None and theirs is None:
            return
        yield (None if ours is None else tuple(ours)), (None if theirs is None else tuple(theirs))


def _difference(table: str, ours: _Row | None, theirs: _Row | None) -> str:
    """Say which row is meant: its key names no patient."""
    if ours is not None and theirs is not None and ours[:-1] == theirs[:-1]:
        return f"{table} {_named(ours)} is not what the log says"
    if theirs is None or (ours is not None and ours[:-1] < theirs[:-1]):
        return f"{table} {_named(ours)} is not in the log"
    return f"{table} {_named(theirs)} is missing"


def _named(row: _Row | None) -> str:
    return "/".join(map(str, (row or ())[:-1]))
