"""`make bench`: one allocator on a preloaded topic, beside moving the same bytes through the same Kafka."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from redis import Redis
from rich.console import Console
from rich.table import Table

from benchmarks.drain import Drain, create_topics, decide, passthrough, preload
from benchmarks.expected import expected_events
from benchmarks.workload import TIMESTAMP_MS, workload
from services.settings import Settings
from services.stack import Stack

console = Console(stderr=True)


def main() -> None:
    """Measure, and print a table or JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--commands", type=int, default=100_000, help="how many are preloaded")
    arguments.add_argument("--runs", type=int, default=3, help="of each; the medians count")
    arguments.add_argument("--partitions", type=int, default=4)
    arguments.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="opd-bench-") as folder, Stack(Path(folder) / "stack") as stack:
        runs = [asyncio.run(run(stack, Path(folder), number, options)) for number in range(options.runs)]
    drains = {name: [run[name] for run in runs] for name in runs[0]}
    ratio = median(run["allocator"].per_second / run["passthrough"].per_second for run in runs)
    if options.json:
        sys.stdout.write(json.dumps(as_json(drains, ratio)) + "\n")
    else:
        print_table(drains, ratio)


async def run(stack: Stack, folder: Path, number: int, options: argparse.Namespace) -> dict[str, Drain]:
    """Drain the same commands twice: moved, and decided."""
    settings = Settings(
        kafka_bootstrap_servers=stack.kafka,
        redis_url=stack.redis,
        commands_topic=f"bench{number}.commands",
        events_topic=f"bench{number}.events",
        dead_letters_topic=f"bench{number}.dead-letters",
        consumer_group=f"bench{number}",
        log_level="warning",
    )
    with Redis.from_url(stack.redis) as redis:
        redis.flushall()
    await create_topics(settings, options.partitions)
    target = settings.model_copy(
        update={
            "commands_topic": f"copy{number}.a",
            "events_topic": f"copy{number}.b",
            "dead_letters_topic": f"copy{number}.c",
        }
    )
    await create_topics(target, options.partitions)
    console.print(f"run {number + 1}: preloading {options.commands:,} commands")
    records = await preload(settings, workload(options.commands), TIMESTAMP_MS)
    expected = expected_events(workload(options.commands), options.partitions)
    console.print(f"run {number + 1}: moving them")
    moved = await passthrough(settings, target.commands_topic, records, stack.pids)
    console.print(f"run {number + 1}: deciding them")
    decided = await decide(settings, records, expected, folder / f"allocator{number}.log", stack.pids)
    return {"passthrough": moved, "allocator": decided}


def as_json(drains: dict[str, list[Drain]], ratio: float) -> dict[str, object]:
    """Give all figures of all runs, and the ratio's median."""
    figures = {
        name: [{"per_second": round(drain.per_second), "cpu_us": drain.cpu_us} for drain in runs]
        for name, runs in drains.items()
    }
    return {"runs": figures, "allocator_of_passthrough": round(ratio, 3)}


def print_table(drains: dict[str, list[Drain]], ratio: float) -> None:
    """Print the medians, with the spread that shows the noise."""
    table = Table("", "commands/s", "lowest to highest", "CPU µs a command")
    for name, runs in drains.items():
        rates = sorted(drain.per_second for drain in runs)
        cpu = {part: median(drain.cpu_us[part] for drain in runs) for part in runs[0].cpu_us}
        table.add_row(
            name,
            f"{median(rates):,.0f}",
            f"{rates[0]:,.0f} to {rates[-1]:,.0f}",
            ", ".join(f"{part} {used:.1f}" for part, used in cpu.items()),
        )
    out = Console(highlight=False)
    out.print(table)
    out.print(f"one allocator, AOF everysec: {ratio:.2f} of the passthrough in the same run")


if __name__ == "__main__":
    main()
