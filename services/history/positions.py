"""To read what one wrote: wait until an event is kept in PostgreSQL."""

import asyncio
import bisect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import structlog

from services.history.postgres import LOST, connect
from services.history.store import channel

_log = structlog.stdlib.get_logger(__name__)

_LOOK_EVERY_S = 1.0

Place = tuple[int, int]


class Positions:
    """How far each partition is kept, as PostgreSQL tells it: one connection, however many wait."""

    def __init__(self, url: str, schema: str) -> None:
        """`following` makes one that is told."""
        self._url, self._schema = url, schema
        self._places: dict[int, Place] = {}
        self._waiting: dict[int, list[tuple[Place, asyncio.Future[None]]]] = {}

    async def reached(self, partition: int, offset: int, n: int, *, timeout_s: float) -> bool:
        """Wait until event `n` of the command at `offset` of `partition` is kept, and with it all before it.

        Gives False if it is not within `timeout_s`, also where PostgreSQL cannot be reached meanwhile.
        """
        place = (offset, n)
        if self._places.get(partition, (-1, -1)) >= place:
            return True
        waiter = (place, asyncio.get_running_loop().create_future())
        waiting = self._waiting.setdefault(partition, [])
        bisect.insort(waiting, waiter, key=_place)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter[1]
        except TimeoutError:
            return False
        finally:
            with suppress(ValueError):  # who was reached stands there no more
                waiting.remove(waiter)
        return True

    async def _follow(self) -> None:
        """Listen, and look besides now and then: a notification sent while nobody listened is lost."""
        while True:
            try:
                connection = await connect(self._url, self._schema)
                try:
                    await connection.add_listener(channel(self._schema), self._hear)
                    while True:
                        await self._look(connection)
                        await asyncio.sleep(_LOOK_EVERY_S)
                finally:
                    connection.terminate()
            except LOST as error:
                _log.warning("PostgreSQL does not tell how far it is, asking again", error=type(error).__name__)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _look(self, connection: asyncpg.Connection) -> None:
        for partition, offset, n in await connection.fetch("SELECT partition, command_offset, n FROM positions"):
            self._move(partition, (offset, n))

    def _hear(self, _connection: object, _pid: int, _channel: str, told: object) -> None:
        partition, offset, n = map(int, str(told).split())
        self._move(partition, (offset, n))

    def _move(self, partition: int, place: Place) -> None:
        self._places[partition] = place
        waiting = self._waiting.get(partition, [])
        reached = bisect.bisect_right(waiting, place, key=_place)
        for _, future in waiting[:reached]:
            if not future.done():
                future.set_result(None)
        del waiting[:reached]


@asynccontextmanager
async def following(url: str, schema: str) -> AsyncIterator[Positions]:
    """Give positions that are told of each transaction of the projector."""
    positions = Positions(url, schema)
    task = asyncio.create_task(positions._follow())  # noqa: SLF001 - its other half
    try:
        yield positions
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _place(waiter: tuple[Place, asyncio.Future[None]]) -> Place:
    return waiter[0]
