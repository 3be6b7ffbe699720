"""A real Redis in the place of its double: the same schedules, decided by the real scripts.

Virtual clock and real server go together because nothing here ever waits on the loop: where a simulated question
arrives, the slot store's own coroutine runs to its end at once, over a client that blocks. That is between two steps of
the schedule, in no virtual time, so a seed tells the same story as on the double, line for line. A flush is FLUSHDB; an
older copy comes back by RESTORE of what DUMP gave of every key after an earlier write.
"""

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import ResponseError

from allocation_core import store as scripts
from allocation_core.digests import department_digest
from allocation_core.state import DepartmentState, state_of
from allocation_core.store import BatchedCommand, Marks, SlotStore, partition_key
from allocation_core.stored_state import StoredPartition
from schemas.events import WrittenEvent
from schemas.plain import AnyCommand
from tests.faults.redis_double import Decided, Partition

if TYPE_CHECKING:
    from redis import Redis

Result = TypeVar("Result")

COPY = """
local copy = {}
for _, key in ipairs(redis.call("KEYS", "*")) do
  copy[#copy + 1] = key
  copy[#copy + 1] = redis.call("DUMP", key)
end
return copy
"""
RESTORE = """
redis.call("FLUSHDB")
for at = 1, #ARGV, 2 do
  redis.call("RESTORE", ARGV[at], 0, ARGV[at + 1])
end
"""


class RealRedis:
    """The server, with what `RedisDouble` can do."""

    def __init__(self, redis: "Redis", partitions: int) -> None:
        """Empty the database that the client is of."""
        self._redis = redis
        blocking: Any = _Blocking(redis)
        self._slots = [SlotStore(blocking, number) for number in range(partitions)]
        self._stored = [StoredPartition(blocking, number) for number in range(partitions)]
        self._nothing_decided = [Decided(None, None, []) for _ in range(partitions)]
        redis.flushdb()
        self._history: list[list[bytes]] = [[]]

    @property
    def partitions(self) -> list[Partition]:
        """What stands in each partition's own key; what was decided is not told."""
        return [self._partition(number) for number in range(len(self._slots))]

    def _partition(self, number: int) -> Partition:
        names = ("generation", "applied", "digest", "half")
        found: list[Any] = self._redis.hmget(partition_key(number), names)
        generation, applied, digest, half = found
        return Partition(
            self._nothing_decided[number],
            None if generation is None else int(generation),
            int(applied or scripts.NOTHING_APPLIED),
            digest or b"",
            half == b"1",
        )

    def nothing_decided(self, partition: int) -> Decided:
        """Give what a partition begins with."""
        return self._nothing_decided[partition]

    def holds(self, partition: int, decided: Decided) -> bool:
        """Whether the state, and all that follows from it, is what these commands lead to (I9)."""
        departments = [state_of(one) for one in decided.replayed().departments.values() if one.day >= 0]
        expected = {department_digest(one.name): replace(one, name="") for one in departments}
        return _at_once(self._read(partition)) == expected

    async def _read(self, partition: int) -> dict[bytes, DepartmentState | list[str] | None]:
        stored = self._stored[partition]
        found = {name: await stored.read(name, indexes=True) async for name in stored.departments()}
        return {
            department_digest(name): one.faults or (one.state and replace(one.state, name=""))
            for name, one in found.items()
        }

    def flush(self) -> None:
        """Flush it."""
        self._redis.flushdb()
        self._history.append([])

    def roll_back(self, share: float) -> None:
        """Go back by a share of all that was ever written."""
        copy = self._history[int((1 - share) * (len(self._history) - 1))]
        self._redis.eval(RESTORE, 0, *copy)
        self._history.append(copy)

    def _written(self) -> None:
        self._history.append(self._redis.eval(COPY, 0))

    def fence(self, partition: int, generation: int) -> Marks:
        """Run fence.lua."""
        marks = _at_once(self._slots[partition].fence(generation))
        self._written()
        return marks

    def check(self, partition: int, generation: int, expected: int) -> None:
        """Run check.lua."""
        _at_once(self._slots[partition].check(generation=generation, expected=expected))

    def read_outcomes(
        self, partition: int, generation: int, expected: int, commands: Mapping[int, AnyCommand]
    ) -> dict[int, list[WrittenEvent]]:
        """Run read_outcomes.lua."""
        found = _at_once(self._slots[partition].outcomes(commands, generation=generation, expected=expected))
        return {offset: found[offset] for offset in commands if offset in found}

    def decide(  # noqa: PLR0917  as decide_batch.lua takes them
        self,
        partition: int,
        generation: int,
        expected: int,
        committed: int,
        last: int,
        digest: bytes,
        commands: Sequence[BatchedCommand],
    ) -> dict[int, list[WrittenEvent]]:
        """Run decide_batch.lua."""
        decided = self._decide(partition, generation, expected, committed, last, digest, commands)
        self._written()
        return decided

    def _decide(  # noqa: PLR0917  as above
        self,
        partition: int,
        generation: int,
        expected: int,
        committed: int,
        last: int,
        digest: bytes,
        commands: Sequence[BatchedCommand],
    ) -> dict[int, list[WrittenEvent]]:
        marks: dict[str, Any] = {"generation": generation, "expected": expected, "committed": committed}
        decided = _at_once(self._slots[partition].decide(commands, **marks, last=last, digest=digest))
        return {command.offset: decided[command.offset] for command in commands}

    def half_decide(
        self, partition: int, generation: int, expected: int, commands: Sequence[BatchedCommand], count: int
    ) -> None:
        """Leave what decide_batch.lua leaves that stops in the middle: some commands' effects, and the mark."""
        self.check(partition, generation, expected)
        before = self._partition(partition)
        some = commands[:count]
        if some:
            self._decide(partition, generation, expected, 0, some[-1].offset, b"", some)
        left: dict[Any, Any] = {"applied": before.applied, "digest": before.digest, "half": 1}
        self._redis.hset(partition_key(partition), mapping=left)
        self._written()
        raise ResponseError("stopped in the middle")

    def begin_clear(self, partition: int, generation: int, clearing: int) -> None:
        """Run clear.lua with "begin"."""
        self._clear(partition, generation, clearing, "begin")

    def delete(self, partition: int, generation: int, clearing: int) -> None:
        """Run clear.lua with "delete" and all keys under the partition."""
        keys = self._redis.keys(f"{partition_key(partition)}:*")
        self._clear(partition, generation, clearing, "delete", *(keys or [f"{partition_key(partition)}:none"]))

    def end_clear(self, partition: int, generation: int, clearing: int) -> None:
        """Run clear.lua with "end"."""
        self._clear(partition, generation, clearing, "end")

    def _clear(self, partition: int, generation: int, clearing: int, step: str, *keys: bytes | str) -> None:
        _at_once(self._slots[partition]._call(scripts._CLEAR, generation, clearing, step, *keys))
        self._written()


class _Blocking:
    """A client of `redis.asyncio`'s shape that never waits on a loop."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        return self._redis.execute_command(*args, **options)  # type: ignore[no-untyped-call]


def _at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise AssertionError("it waited")
