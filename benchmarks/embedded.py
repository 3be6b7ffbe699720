"""One partition of the slot store on a Valkey of its own, without Kafka: what its script alone costs."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import to_json
from redis import Redis

from allocation_core.outcomes import Outcomes
from allocation_core.scripts import load_script
from allocation_core.store import NOTHING_APPLIED, BatchedCommand, pack_commands, partition_key
from schemas.commands import ANY_COMMAND, Command
from schemas.events import WrittenEvent
from schemas.wire import command_key
from services.stack.valkey import ValkeyServer

GENERATION = 1
BATCH = 500


class Cost(NamedTuple):
    """What commands took Redis.

    Attributes:
        cpu_us: processor time of the thread that decides, by `INFO cpu`, in microseconds.
        longest_ms: the longest script call as the caller saw it.
        bytes: how much more memory is used.
    """

    commands: int
    cpu_us: float
    longest_ms: float
    bytes: int

    @property
    def each_us(self) -> float:
        """Microseconds of processor time a command."""
        return self.cpu_us / self.commands


class Partition:
    """A partition that begins empty; `lua` is the folder of other scripts than the package's."""

    def __init__(self, redis: Redis, number: int = 0, *, lua: Path | None = None) -> None:
        self._redis: Any = redis  # its stubs know no raw command
        self._key = partition_key(number)
        self._sha1 = self._redis.script_load(load_script("decide_batch", lua).text)
        self._redis.eval(load_script("fence", lua).text, 1, self._key, GENERATION)
        self._applied = NOTHING_APPLIED

    def decide(self, commands: Sequence[tuple[Command, int]], *, batch: int = BATCH) -> Cost:
        """Decide commands, each with its timestamp in milliseconds, and measure what that takes."""
        packed = [self._pack(commands[at : at + batch]) for at in range(0, len(commands), batch)]
        before, longest_s = self._used(), 0.0
        for arguments in packed:
            began = time.perf_counter()
            self._call(*arguments)
            longest_s = max(longest_s, time.perf_counter() - began)
        after = self._used()
        return Cost(len(commands), (after[0] - before[0]) * 1e6, longest_s * 1e3, after[1] - before[1])

    def events(self, commands: Sequence[tuple[Command, int]]) -> list[list[WrittenEvent]]:
        """Decide one batch; give the events of each command."""
        first = self._applied + 1
        reply = self._call(*self._pack(commands))
        outcomes = Outcomes(reply, {first + n: command for n, (command, _) in enumerate(commands)})
        return [outcomes[first + n] for n in range(len(commands))]

    def _pack(self, commands: Sequence[tuple[Command, int]]) -> tuple[Any, ...]:
        expected = self._applied
        batch = [
            BatchedCommand(expected + n, stamp, command_key(command), command)
            for n, (command, stamp) in enumerate(commands, start=1)
        ]
        self._applied += len(batch)
        return (expected, expected, self._applied, "", *pack_commands(batch))

    def _call(self, *arguments: Any) -> bytes:
        reply = self._redis.execute_command("EVALSHA", self._sha1, 1, self._key, GENERATION, *arguments)
        if not isinstance(reply, bytes):
            raise RuntimeError(f"the script refused: {reply}")  # noqa: TRY004  not a matter of its type
        return reply

    def _used(self) -> tuple[float, int]:
        info = self._redis.info()
        return info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"], info["used_memory"]


@contextmanager
def embedded(binary: Path | None = None) -> Iterator[Redis]:
    """A Valkey as `opd up` runs it, append-only file and all, or the given `redis-server`; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="opd-bench-") as folder:
        server = ValkeyServer(Path(folder), binary=binary)
        server.start()
        try:
            with Redis.from_url(server.url) as redis:
                yield redis
        finally:
            server.stop()


def command(number: int, command_type: str, department_id: str, **data: object) -> Command:
    """Make a command of a department of the facility `blr1`; `number` is its id."""
    return ANY_COMMAND.validate_json(
        to_json(
            {
                "specversion": "1.0",
                "id": f"web-{number:010d}",
                "source": "portal/web",
                "type": f"opd.{command_type}.v1",
                "data": {"facility_id": "blr1", "department_id": department_id, **data},
            }
        )
    )
