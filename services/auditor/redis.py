"""What Redis keeps, read for the audit."""

from contextlib import ExitStack

from allocation_core import stored_state
from allocation_core.store import Marks
from allocation_core.stored_state import StoredDepartment
from services.auditor.loop import Loop
from services.redis import connect_redis
from services.settings import Settings


class RedisSystem:
    """The Redis that the settings name; it may be written meanwhile."""

    def __init__(self, settings: Settings, loop: Loop, cleanup: ExitStack, wait_s: float) -> None:
        self._loop, self._wait_s = loop, wait_s
        self._redis = connect_redis(settings.redis_url)
        cleanup.callback(lambda: loop.run(self._redis.aclose()))

    def partition(self, number: int) -> "RedisPartition":
        """Give one partition of it."""
        return RedisPartition(stored_state.StoredPartition(self._redis, number), self._loop, self._wait_s)


class RedisPartition:
    """One partition.

    Attributes:
        wait_s: how long it may take Redis to get where the audited commands end.
    """

    def __init__(self, stored: stored_state.StoredPartition, loop: Loop, wait_s: float) -> None:
        self._stored, self._loop = stored, loop
        self.wait_s = wait_s

    def marks(self) -> Marks:
        """Read where the partition stands."""
        return self._loop.run(self._stored.marks())

    def departments(self) -> list[str]:
        """Name the departments."""
        return self._loop.run(self._names())

    def read(self, name: str) -> StoredDepartment:
        """Read a department and what follows from its state, in one call."""
        return self._loop.run(self._stored.read(name, indexes=True))

    async def _names(self) -> list[str]:
        return [name async for name in self._stored.departments()]
