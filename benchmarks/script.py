"""`python -m benchmarks.script`: what a decision costs Redis alone; with `--lua FOLDER …`, other scripts in turn."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from redis import Redis
from rich.console import Console
from rich.table import Table

from allocation_core.model import Model
from benchmarks.embedded import BATCH, Partition, embedded
from benchmarks.workload import workload
from schemas.commands import Command
from schemas.wire import read_command, written

PARTITIONS = 4
CHECKED = 3_000

Said = list[tuple[Command, int]]


def main() -> None:
    """Measure in turn, and print a table of microseconds of processor time a command."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--commands", type=int, default=60_000)
    arguments.add_argument("--runs", type=int, default=5, help="of each; the lowest is the least disturbed")
    arguments.add_argument("--batch", type=int, default=BATCH)
    arguments.add_argument("--lua", type=Path, nargs="*", default=[], help="folders of other scripts beside ours")
    arguments.add_argument("--redis-server", type=Path, help="that binary instead of Valkey")
    options = arguments.parse_args()
    logs = partition_logs(options.commands)
    taken: dict[str, list[float]] = {}
    with embedded(options.redis_server) as redis:
        check(redis, logs[0][:CHECKED])
        for _ in range(options.runs):
            for lua in (None, *options.lua):
                taken.setdefault(str(lua or "ours"), []).append(run(redis, logs, lua, options.batch))
    table = Table("scripts", "CPU µs a command, lowest", "median", "highest")
    for name, runs in taken.items():
        table.add_row(name, f"{min(runs):.1f}", f"{median(runs):.1f}", f"{max(runs):.1f}")
    Console(highlight=False).print(table)


def partition_logs(count: int) -> list[Said]:
    """Give the workload by partition, each department in one."""
    logs: list[Said] = [[] for _ in range(PARTITIONS)]
    for key, value, timestamp_ms in workload(count):
        logs[int(key.rpartition(b"-")[2]) % PARTITIONS].append((read_command(key, value, timestamp_ms), timestamp_ms))
    return logs


def check(redis: Redis, said: Said) -> None:
    """Nobody is fast by being wrong: the first commands' events are the model's."""
    redis.flushall()
    partition, model = Partition(redis), Model()
    for at in range(0, len(said), BATCH):
        batch = said[at : at + BATCH]
        if partition.events(batch) != [[written(event) for event in model.decide(*each)] for each in batch]:
            raise RuntimeError("the script decides otherwise than the model")


def run(redis: Redis, logs: Sequence[Said], lua: Path | None, batch: int) -> float:
    """Decide everything once; give microseconds of processor time a command."""
    redis.flushall()
    costs = [Partition(redis, number, lua=lua).decide(log, batch=batch) for number, log in enumerate(logs)]
    return sum(cost.cpu_us for cost in costs) / sum(cost.commands for cost in costs)


if __name__ == "__main__":
    main()
