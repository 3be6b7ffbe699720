"""Puts a saved state in the place of an older one, while owners go on (opd restore, an owner's rebuild; spec §4)."""

from collections.abc import Iterable, Iterator
from secrets import token_hex
from typing import Any

from allocation_core.digests import department_digest
from allocation_core.layout import Write, header_of, invented, writes
from allocation_core.scripts import load_script
from allocation_core.state import DepartmentState
from allocation_core.store import Argument, Redis, partition_key, run_script

_LOAD = load_script("load")
_ARGUMENTS_A_CALL = 4000
_KEYS_A_CALL = 500


class Loading:
    """One loading into one partition.

    Raises, from every method:
        Rewind: the state is that far already, or was cleared or flushed meanwhile; what was loaded is out of sight.
        Unfenced, Superseded: the generation is not the one stored.
        OtherVersion: another layout is stored.
    """

    def __init__(self, redis: Redis, partition: int, *, offset: int, generation: int | None = None) -> None:
        """Load a state as it was at an offset; with no generation for somebody who owns nothing."""
        self._redis = redis
        self._key = partition_key(partition)
        self._fixed: tuple[Argument, ...] = (token_hex(8), offset, "" if generation is None else generation)

    async def load(self, departments: Iterable[DepartmentState], digest: bytes) -> None:
        """Put these departments in the place of all that are there.

        Args:
            departments: read one after the other.
            digest: of the record at the offset, see `record_digest`.
        """
        highest_before = await self._call("begin")
        for state in departments:
            await self._write(state)
        await self._call("end", digest)
        await self._free(highest_before)

    async def _write(self, state: DepartmentState) -> None:
        if record := invented(state):
            await self._call("invented", department_digest(state.name), record.pack())
            return
        header = header_of(state, 0)
        number = await self._call("department", state.name, *header[1:])
        for arguments in _in_calls(writes(state)):
            await self._call("write", number, *arguments)

    async def _free(self, highest: int) -> None:
        keys: list[bytes] = []
        async for key in self._redis.scan_iter(match=f"{self._key}:*", count=1000):
            number = key[len(self._key) + 1 :].partition(b":")[0]
            if number.isdigit() and int(number) <= highest:
                keys.append(key)
            if len(keys) == _KEYS_A_CALL:
                await self._call("free", *keys)
                keys.clear()
        if keys:
            await self._call("free", *keys)

    async def _call(self, step: str, *arguments: Argument) -> int:
        reply: Any = await run_script(self._redis, self._key, _LOAD, *self._fixed, step, *arguments)
        return int(reply[1])


def _in_calls(parts: Iterable[Write]) -> Iterator[list[Argument]]:
    """Put writes together, as many as one call may carry."""
    arguments: list[Argument] = []
    for word, suffix, content in parts:
        if len(arguments) + len(content) > _ARGUMENTS_A_CALL:
            yield arguments
            arguments = []
        arguments += (len(content), word, suffix, *content)
    yield arguments
