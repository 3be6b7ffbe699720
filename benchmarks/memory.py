"""What Redis takes for a live token, and for a command's id that is remembered (R2)."""

from collections.abc import Sequence
from itertools import islice

from redis.asyncio import Redis

from allocation_core.store import BatchedCommand, SlotStore
from benchmarks.bench import Bench
from benchmarks.calibration import BATCH_RECORDS, GENERATION
from benchmarks.measurement import Figures, Measurement, Table
from benchmarks.workload import DEPARTMENTS, TIMESTAMP_MS, Sent, make_command, workload
from schemas.wire import read_command
from services.redis import connect_redis

TOKENS = 50_000


async def measure(bench: Bench) -> Figures:
    """Issue tokens that nobody gives back, then refuse as many commands: those leave their ids alone."""
    tokens = min(TOKENS, bench.options.commands)
    departments = DEPARTMENTS // bench.options.partitions
    everything = workload(3 * tokens, departments=departments)
    kept = (each for each in everything if b"opd.CancelToken.v1" not in each.value)
    doctors = list(islice(kept, 4 * departments))
    requests = list(islice(kept, tokens))
    unknown = {"token_id": "blr1.dep-0.20261123.999999"}
    refused = [
        make_command(10**9 + n, "CancelToken", f"dep-{n % departments}", TIMESTAMP_MS, unknown) for n in range(tokens)
    ]
    async with connect_redis(bench.stack.redis) as redis:
        await redis.execute_command("FLUSHALL")
        store = SlotStore(redis, 0)
        await store.fence(GENERATION)
        used = [await _decided(bench, store, part) for part in _in_log_order([doctors, requests, refused])]
    id_bytes = (used[2] - used[1]) / tokens
    return {
        "token_bytes": round((used[1] - used[0]) / tokens - id_bytes),
        "id_bytes": round(id_bytes),
        "tokens": tokens,
    }


def _in_log_order(parts: Sequence[Sequence[Sent]]) -> list[list[BatchedCommand]]:
    numbered, offset = [], 0
    for part in parts:
        numbered.append(
            [BatchedCommand(offset + n, TIMESTAMP_MS, each.key, read_command(*each)) for n, each in enumerate(part)]
        )
        offset += len(part)
    return numbered


async def _decided(bench: Bench, store: SlotStore, commands: Sequence[BatchedCommand]) -> int:
    """Decide commands, and give the bytes that Redis keeps then."""
    for first in range(0, len(commands), BATCH_RECORDS):
        batch = commands[first : first + BATCH_RECORDS]
        begin, last = batch[0].offset, batch[-1].offset
        await store.decide(batch, generation=GENERATION, expected=begin - 1, committed=begin, last=last, digest=b"")
    async with Redis.from_url(bench.stack.redis) as redis:
        kept: int = (await redis.info("memory"))["used_memory_dataset"]
    return kept


def show(figures: Figures) -> list[Table]:
    """Give both."""
    rows = [
        ["a live token, its patient's id of 16 characters", f"{figures['token_bytes']}"],
        ["a remembered command id", f"{figures['id_bytes']}"],
    ]
    return [Table(f"What Redis keeps, over {figures['tokens']:,} of each", ("", "bytes"), rows)]


MEMORY = Measurement("memory", "bytes of Redis for a token and for a command's id", measure, show)
