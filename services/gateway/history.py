"""What is read: all that ever happened, as PostgreSQL has it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import asyncpg
import structlog
from pydantic_core import from_json

from schemas.words import Source
from services.gateway import queries
from services.gateway.problems import HISTORY_UNAVAILABLE, Problem
from services.gateway.said import EventPlace, Place, Said
from services.history.positions import Positions, following
from services.history.postgres import LOST
from services.settings import Settings

_log = structlog.stdlib.get_logger(__name__)

_CONNECTIONS = 8
_ANSWERS_WITHIN_S = 5.0
REACHED_WITHIN_S = 5.0


class History:
    """The history's tables; every method raises the problem that they cannot be read, if so."""

    def __init__(self, pool: asyncpg.Pool, positions: Positions) -> None:
        """`reading` makes one."""
        self._pool, self._positions = pool, positions

    async def has_reached(self, position: EventPlace) -> bool:
        """Wait until this event is kept; give False if it is not within `REACHED_WITHIN_S`."""
        return await self._positions.reached(*position, timeout_s=REACHED_WITHIN_S)

    async def is_there(self) -> bool:
        """Say whether the tables can be read."""
        try:
            await self.rows("SELECT 1 FROM positions LIMIT 1")
        except Problem:
            return False
        return True

    async def rows(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Give the rows that a query finds."""
        try:
            async with self._pool.acquire(timeout=_ANSWERS_WITHIN_S) as connection:
                return await connection.fetch(query, *values)
        except LOST as error:
            # Not its text: it may quote what was asked for.
            _log.warning("PostgreSQL does not answer", error=type(error).__name__)
            raise Problem(HISTORY_UNAVAILABLE) from error

    async def token(self, token_id: str) -> asyncpg.Record | None:
        """Give a token as it stands now."""
        return next(iter(await self.rows(queries.TOKEN, token_id)), None)

    async def issued_by(self, token_id: str) -> Place | None:
        """Give the place of the command that a token was issued by."""
        return next((Place(*row) for row in await self.rows(queries.ISSUED_BY, token_id)), None)

    async def events_of(self, place: Place) -> Sequence[Said]:
        """Give what a command caused, in order; nothing while that is not known here."""
        rows = await self.rows(queries.EVENTS_OF_A_COMMAND, *place)
        return [Said(EventPlace(*place, row["n"]), row["type"], from_json(row["data"])) for row in rows]

    async def commands_caused(
        self, command_id: str, facility_id: str, department_id: str, *, before: Place
    ) -> Sequence[Place]:
        """Give the places of a department's earlier commands of that id, whoever sent them, the newest first."""
        rows = await self.rows(queries.COMMANDS_OF_AN_ID, command_id, facility_id, department_id, *before)
        return [Place(*row) for row in rows]

    async def waitlist(self, facility_id: str, department_id: str, day: date, slot: str) -> list[asyncpg.Record]:
        """Give who waits in a pool, in order: token_id, source, position."""
        return await self.rows(queries.WAITLIST, facility_id, department_id, day, slot, list(Source))


async def _as_it_is(_connection: object) -> None:
    """Give a connection back without asyncpg's reset, a second query for each: nothing but SELECTs went over it."""


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[History]:
    """Give the history that the settings name; it may come and go meanwhile."""
    options: dict[str, Any] = {"search_path": settings.history_schema, "application_name": "opd-gateway"}
    pool = asyncpg.create_pool(
        settings.postgres_url,
        min_size=0,
        max_size=_CONNECTIONS,
        timeout=_ANSWERS_WITHIN_S,
        command_timeout=_ANSWERS_WITHIN_S,
        server_settings={**options, "default_transaction_read_only": "on", "timezone": "UTC"},
        reset=_as_it_is,
    )
    async with pool, following(settings.postgres_url, settings.history_schema) as positions:
        try:
            yield History(pool, positions)
        finally:
            pool.terminate()
