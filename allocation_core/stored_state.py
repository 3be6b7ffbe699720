"""The state that Redis keeps of a partition, read while its owner goes on (I9, spec §4)."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from allocation_core.digests import department_digest
from allocation_core.layout import Header, Invented, Layout, contradictions
from allocation_core.scripts import load_script
from allocation_core.state import DepartmentState
from allocation_core.store import Marks, Redis, partition_key, run_script

_READ_DEPARTMENT = load_script("read_department")
_MARK = load_script("mark")


class StoredDepartment(NamedTuple):
    """One department as it was read, at one offset.

    Attributes:
        marks: the partition's, at that moment.
        departments: how many the partition had.
        state: None where the department is not there.
        faults: where what Redis keeps of it contradicts itself; names no patient.
    """

    marks: Marks
    departments: int
    state: DepartmentState | None
    faults: list[str]


class StoredPartition:
    """What Redis keeps of one partition."""

    def __init__(self, redis: Redis, partition: int) -> None:
        self._redis = redis
        self._key = partition_key(partition)

    async def marks(self) -> Marks:
        """Read where the partition stands, without owning it."""
        applied, digest, half = await self._redis.execute_command("HMGET", self._key, "applied", "digest", "half")
        return Marks(int(applied or -1), digest or b"", half == b"1")

    async def departments(self) -> AsyncIterator[str]:
        """Name each department that is there from the first call to the last, once; one may be named by its digest."""
        seen: set[bytes] = set()
        # One that moves meanwhile moves from the first to the second.
        for key, name_of in ((f"{self._key}:v", bytes.hex), (f"{self._key}:d", bytes.decode)):
            cursor = None
            while cursor != 0:
                reply = await self._redis.execute_command("HSCAN", key, cursor or 0, "COUNT", 100)
                cursor = int(reply[0])
                for name in map(name_of, reply[1]):
                    digest = department_digest(name)
                    if digest not in seen:
                        seen.add(digest)
                        yield name

    async def read(self, name: str, *, indexes: bool = False) -> StoredDepartment:
        """Read one department in one call.

        Args:
            name: as `departments` gives it, or `{facility_id}/{department_id}`.
            indexes: look besides whether what follows from the rest does.

        Raises:
            OtherVersion: another layout is stored.
        """
        reply = await run_script(self._redis, self._key, _READ_DEPARTMENT, name, department_digest(name), int(indexes))
        _, applied, digest, half, departments, header, *keys = reply
        marks = Marks(int(applied), digest, half == b"1")
        if not header:
            state = Invented.unpack(keys[0]).state(name) if keys else None
            return StoredDepartment(marks, departments, state, [])
        layout = Layout(name, Header.unpack(header), dict(zip(keys[::2], keys[1::2], strict=True)))
        state = layout.state()
        faults = list(contradictions(state, layout.indexes())) if indexes else []
        return StoredDepartment(marks, departments, state, faults)

    async def mark_for_rebuild(self) -> int | None:
        """Mark the state as not to be built upon: its owner, or the next one, clears and rebuilds it.

        Returns:
            The applied offset; None where there is no state, which is rebuilt without being told.
        """
        return await self._mark("rebuild")

    async def forget_generation(self) -> int | None:
        """Forget which generation of the group owns the partition; the next fence of any stands.

        Returns:
            The applied offset; None where no generation was stored.
        """
        return await self._mark("generation")

    async def _mark(self, what: str) -> int | None:
        reply = await run_script(self._redis, self._key, _MARK, what)
        return int(reply[1]) if reply[0] == b"MARKED" else None
