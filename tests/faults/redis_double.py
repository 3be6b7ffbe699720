"""Redis in memory: a slot store with the scripts' refusals, their atomicity and what a Redis may lose.

The state that a partition's commands lead to is the sequence of those commands: decisions follow from it alone. Each
sequence is decided once, by the pure model, and remembered.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Optional

from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoReply

from allocation_core.model import Model
from allocation_core.store import (
    NOTHING_APPLIED,
    BatchedCommand,
    HalfWritten,
    Marks,
    Rewind,
    SlotStore,
    Superseded,
    Unfenced,
)
from schemas.events import WrittenEvent
from schemas.plain import AnyCommand
from schemas.wire import written
from tests.core.commands import as_model
from tests.faults.loop import PROCESS

if TYPE_CHECKING:
    from tests.faults.world import World


class Decided:
    """A sequence of decided commands, by its last; what follows is decided once and remembered."""

    def __init__(self, before: Optional["Decided"], last: BatchedCommand | None, events: list[WrittenEvent]) -> None:
        self.before, self.last, self.events = before, last, events
        self._after: dict[int, Decided] = {}
        self._model: Model | None = None

    def then(self, command: BatchedCommand) -> "Decided":
        """Give the sequence with one more command."""
        known = self._after.get(command.offset)
        if known is None:
            model, self._model = self._model or self.replayed(), None
            events = [written(event) for event in model.decide(as_model(command.command), command.timestamp_ms)]
            known = self._after[command.offset] = Decided(self, command, events)
            known._model = model
        return known

    def _commands(self) -> list[BatchedCommand]:
        commands = []
        at: Decided | None = self
        while at is not None and at.last is not None:
            commands.append(at.last)
            at = at.before
        return commands[::-1]

    def replayed(self) -> Model:
        """Give a model that decided them."""
        model = Model()
        for command in self._commands():
            model.decide(as_model(command.command), command.timestamp_ms)
        return model


class Partition(NamedTuple):
    """All that Redis holds of one partition; outcomes by the last offset of their batch."""

    decided: Decided
    generation: int | None = None
    applied: int = NOTHING_APPLIED
    digest: bytes = b""
    is_half_written: bool = False
    outcomes: tuple[tuple[int, Mapping[int, list[WrittenEvent]]], ...] = ()
    clearing: int | None = None


class RedisDouble:
    """The server."""

    def __init__(self, partitions: int) -> None:
        self._empty = tuple(Partition(Decided(None, None, [])) for _ in range(partitions))
        self.partitions = list(self._empty)
        self._history: list[tuple[Partition, ...]] = [self._empty]

    def nothing_decided(self, partition: int) -> Decided:
        """Give the state that a partition begins with."""
        return self._empty[partition].decided

    def holds(self, partition: int, decided: Decided) -> bool:
        """Whether the state is what these commands lead to."""
        return self.partitions[partition].decided is decided

    def flush(self) -> None:
        """As FLUSHALL."""
        self._restore(self._empty)

    def roll_back(self, share: float) -> None:
        """Go back by a share of all that was ever written, as a restored copy or a failover does."""
        self._restore(self._history[int((1 - share) * (len(self._history) - 1))])

    def _restore(self, state: tuple[Partition, ...]) -> None:
        self.partitions = list(state)
        self._history.append(state)

    def _write(self, partition: int, state: Partition) -> None:
        self.partitions[partition] = state
        self._history.append(tuple(self.partitions))

    def _guard(self, partition: int, generation: int, expected: int) -> Partition:
        found = self.partitions[partition]
        stored = -1 if found.generation is None else found.generation
        if stored < generation:
            raise Unfenced(str(stored))
        if stored > generation:
            raise Superseded(str(stored))
        if found.is_half_written:
            raise HalfWritten(str(found.applied))
        if found.applied != expected:
            raise Rewind(str(found.applied))
        return found

    def fence(self, partition: int, generation: int) -> Marks:
        """As fence.lua."""
        found = self.partitions[partition]
        if found.generation is not None and found.generation > generation:
            raise Superseded(str(found.generation))
        self._write(partition, found._replace(generation=generation))
        return Marks(found.applied, found.digest, found.is_half_written)

    def check(self, partition: int, generation: int, expected: int) -> None:
        """As check.lua."""
        self._guard(partition, generation, expected)

    def read_outcomes(
        self, partition: int, generation: int, expected: int, commands: Mapping[int, AnyCommand]
    ) -> dict[int, list[WrittenEvent]]:
        """As read_outcomes.lua."""
        found = self._guard(partition, generation, expected)
        stored = {offset: events for _, batch in found.outcomes for offset, events in batch.items()}
        return {offset: stored[offset] for offset in commands if offset in stored}

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
        """As decide_batch.lua."""
        found = self._guard(partition, generation, expected)
        if any(not expected < command.offset <= last for command in commands):
            raise ResponseError("offset outside the batch")
        decided, outcomes = found.decided, {}
        for command in commands:
            decided = decided.then(command)
            outcomes[command.offset] = decided.events
        kept = tuple(batch for batch in found.outcomes if batch[0] >= committed)
        self._write(partition, Partition(decided, generation, last, digest, False, (*kept, (last, outcomes))))
        return outcomes

    def half_decide(
        self, partition: int, generation: int, expected: int, commands: Sequence[BatchedCommand], count: int
    ) -> None:
        """As decide_batch.lua that stops in the middle."""
        found = self._guard(partition, generation, expected)
        decided = found.decided
        for command in commands[:count]:
            decided = decided.then(command)
        self._write(partition, found._replace(decided=decided, is_half_written=True))
        raise ResponseError("stopped in the middle")

    def begin_clear(self, partition: int, generation: int, clearing: int) -> None:
        """As clear.lua with "begin": the keys under the partition are still there."""
        found = self._guard_clear(partition, generation)
        self._write(partition, Partition(found.decided, generation, is_half_written=True, clearing=clearing))

    def delete(self, partition: int, generation: int, clearing: int) -> None:
        """As clear.lua with "delete"."""
        found = self._guard_clear(partition, generation, clearing)
        self._write(partition, found._replace(decided=self.nothing_decided(partition)))

    def end_clear(self, partition: int, generation: int, clearing: int) -> None:
        """As clear.lua with "end"."""
        found = self._guard_clear(partition, generation, clearing)
        self._write(partition, Partition(found.decided, generation))

    def delete_unguarded(self, partition: int) -> None:
        """As UNLINK of the keys under the partition, whoever asks."""
        found = self.partitions[partition]
        self._write(partition, found._replace(decided=self.nothing_decided(partition), outcomes=()))

    def _guard_clear(self, partition: int, generation: int, clearing: int | None = None) -> Partition:
        found = self.partitions[partition]
        stored = -1 if found.generation is None else found.generation
        if stored != generation:
            raise (Superseded if stored > generation else Unfenced)(str(stored))
        if clearing is not None and found.clearing != clearing:
            raise HalfWritten(str(found.applied))
        return found


class SlotStoreDouble(SlotStore):
    """The client; each call is a question over the network."""

    def __init__(self, world: "World", partition: int) -> None:
        self._world = world
        self._server = world.redis
        self._partition = partition

    async def fence(self, generation: int) -> Marks:
        asked_at_s = self._world.loop.time()
        marks = await self._world.ask_redis("fence", lambda: self._server.fence(self._partition, generation))
        self._world.fenced_at_s[PROCESS.get(), self._partition] = asked_at_s
        return marks

    def count_up(self) -> int:
        """Give the generation after the stored one: what a planted mistake fences with."""
        return (self._server.partitions[self._partition].generation or 0) + 1

    async def decide(
        self,
        commands: Sequence[BatchedCommand],
        *,
        generation: int,
        expected: int,
        committed: int,
        last: int,
        digest: bytes,
    ) -> dict[int, list[WrittenEvent]]:
        return await self._world.ask_redis(
            f"decide {expected + 1}..{last}",
            lambda: self._server.decide(self._partition, generation, expected, committed, last, digest, commands),
            half=lambda count: self._server.half_decide(self._partition, generation, expected, commands, count),
        )

    async def outcomes(
        self, commands: Mapping[int, AnyCommand], *, generation: int, expected: int
    ) -> dict[int, list[WrittenEvent]]:
        found = await self._world.ask_redis(
            f"outcomes {min(commands)}..{max(commands)}",
            lambda: self._server.read_outcomes(self._partition, generation, expected, commands),
        )
        if found:
            self._world.reached("stored outcome read")
        return found

    async def check(self, *, generation: int, expected: int) -> None:
        await self._world.ask_redis("check", lambda: self._server.check(self._partition, generation, expected))

    async def clear(self, generation: int) -> None:
        server, at, clearing = self._server, self._partition, self._world.loop.steps
        await self._world.ask_redis("begin clear", lambda: server.begin_clear(at, generation, clearing))
        await self._world.ask_redis("delete", lambda: server.delete(at, generation, clearing))
        await self._world.ask_redis("end clear", lambda: server.end_clear(at, generation, clearing))


def refused() -> Exception:
    """What the client raises where it could not ask."""
    return NotConnected("refused")


def no_reply() -> Exception:
    """What the client raises where no answer came."""
    return NoReply("no reply")
