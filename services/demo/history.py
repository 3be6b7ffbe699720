"""What became of the day, asked of PostgreSQL in SQL."""

import asyncio
from typing import NamedTuple

from services.history.postgres import LOST, connect
from services.history.rebuild import ends_of
from services.settings import Settings

_AGAIN_AFTER_S = 0.1
_WITHIN_S = 10.0
_BEHIND = """
    SELECT count(*) FROM positions JOIN unnest($1::int[], $2::bigint[]) AS topic(partition, stop) USING (partition)
    WHERE next_offset < stop
"""
_NUMBERS = """
    SELECT coalesce(sum(tokens), 0)::int AS tokens, coalesce(sum(seen), 0)::int AS seen,
        coalesce(sum(no_shows), 0)::int AS no_shows, coalesce(sum(preemptions), 0)::int AS preemptions
    FROM daily_numbers WHERE facility_id = $1
"""


class Kept(NamedTuple):
    """A facility's numbers, as the view `daily_numbers` has them."""

    tokens: int
    seen: int
    no_shows: int
    preemptions: int


async def kept_of(settings: Settings, facility_id: str, partitions: int) -> Kept | None:
    """Give a facility's numbers when the history has come to the events that there are; None if it does not in time."""
    ends = await ends_of(settings, partitions)
    try:
        async with asyncio.timeout(_WITHIN_S):
            connection = await connect(settings.postgres_url, settings.history_schema)
            try:
                while await connection.fetchval(_BEHIND, list(ends), list(ends.values())):  # noqa: ASYNC110  it is asked
                    await asyncio.sleep(_AGAIN_AFTER_S)
                [numbers] = await connection.fetch(_NUMBERS, facility_id)
                return Kept(*numbers)
            finally:
                connection.terminate()
    except LOST:
        return None
