"""What the parts alone can do on this machine at this hour: the codec, and the script without Kafka and Python."""

import time
from functools import lru_cache
from typing import Any

from allocation_core.model import Model
from allocation_core.store import NOTHING_APPLIED, BatchedCommand, Redis, SlotStore
from benchmarks.bench import Bench
from benchmarks.measurement import Figures
from benchmarks.processes import cpu_s
from benchmarks.workload import DEPARTMENTS, TIMESTAMP_MS, Sent, workload
from schemas.commands import Command
from schemas.events import WrittenEvent
from schemas.plain import read_plain_command
from schemas.wire import command_key, read_command, write_events, written
from services.redis import connect_redis

COMMANDS = 40_000
BATCH_RECORDS = 500
GENERATION = 1


def codec(_: Bench) -> Figures:
    """Read every command, and write every event of it; what stands between is done before."""
    sent, decided = _decided(DEPARTMENTS)
    began_s = time.process_time()
    for key, value, timestamp_ms in sent:
        read_plain_command(key, value, timestamp_ms) or read_command(key, value, timestamp_ms)
    read_s = time.process_time()
    for offset, (command, events) in enumerate(decided):
        write_events(0, offset, TIMESTAMP_MS, command, events)
    written_s = time.process_time()
    return {
        "per_second": round(len(sent) / (written_s - began_s)),
        "cpu_us": {
            "read": round((read_s - began_s) / len(sent) * 1e6, 2),
            "write": round((written_s - read_s) / len(sent) * 1e6, 2),
        },
    }


async def raw_lua(bench: Bench) -> Figures:
    """Send the script's packed batches again, one after the other; replies are not unpacked."""
    async with connect_redis(bench.stack.redis) as redis:
        calls = await _recorded_calls(redis, bench.options.partitions)
        await redis.execute_command("FLUSHALL")
        parts = {"redis": bench.stack.pids["redis"]}
        before, began_s = cpu_s(parts), time.perf_counter()
        for call in calls:
            await redis.execute_command(*call)
        seconds, after = time.perf_counter() - began_s, cpu_s(parts)
    used = (after["redis"] - before["redis"]) / COMMANDS * 1e6
    return {"per_second": round(COMMANDS / seconds), "cpu_us": {"redis": round(used, 2)}}


class _Recorder:
    """A client of Redis that keeps what it was told to send."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.calls: list[tuple[Any, ...]] = []

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        reply = await self._redis.execute_command(*args, **options)
        self.calls.append(args)
        return reply

    def scan_iter(self, match: str, count: int) -> Any:
        return self._redis.scan_iter(match, count)


_calls: list[tuple[Any, ...]] = []


async def _recorded_calls(redis: Redis, partitions: int) -> list[tuple[Any, ...]]:
    """Give the calls that decide a partition's share of the departments on an empty Redis; made once."""
    if not _calls:
        await redis.execute_command("FLUSHALL")
        recorder = _Recorder(redis)
        store = SlotStore(recorder, 0)
        await store.fence(GENERATION)
        decided = _decided(DEPARTMENTS // partitions)[1]
        commands = [
            BatchedCommand(at, TIMESTAMP_MS, command_key(command), command) for at, (command, _) in enumerate(decided)
        ]
        applied = NOTHING_APPLIED
        for first in range(0, len(commands), BATCH_RECORDS):
            batch = commands[first : first + BATCH_RECORDS]
            marks = {"generation": GENERATION, "expected": applied, "committed": first}
            await store.decide(batch, **marks, last=batch[-1].offset, digest=b"")
            applied = batch[-1].offset
        _calls.extend(recorder.calls)
    return _calls


@lru_cache(maxsize=2)
def _decided(departments: int) -> tuple[list[Sent], list[tuple[Command, list[WrittenEvent]]]]:
    model = Model()
    sent = list(workload(COMMANDS, departments=departments))
    commands = [read_command(*each) for each in sent]
    decided = [(command, model.decide(command, TIMESTAMP_MS)) for command in commands]
    return sent, [(command, [written(event) for event in events]) for command, events in decided]
