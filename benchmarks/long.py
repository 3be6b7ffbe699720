"""One worker over millions of commands while days go by: does its memory stay where it is?"""

import time
from pathlib import Path

from redis import Redis

from benchmarks.bench import Bench
from benchmarks.contenders import ONE_WORKER
from benchmarks.expected import Disagreement, Fingerprints, model_events
from benchmarks.kafka import preload, scan
from benchmarks.measurement import Figures, Measurement, Table
from benchmarks.plots import line
from benchmarks.processes import rss_mb
from benchmarks.workload import workload

COMMANDS_A_DAY = 30_000  # as many as there are for a date: days go by as dates do
LOOK_EVERY_S = 1.0
SHOWN = (0.1, 0.25, 0.5, 0.75, 1.0)


async def measure(bench: Bench) -> Figures:
    """Drain a long topic, looking at the memory of the worker and of Redis once a second."""
    count, partitions = bench.options.long_commands, bench.options.partitions
    settings = bench.settings("long")
    looks: list[dict[str, float]] = []
    async with bench.running(ONE_WORKER, ONE_WORKER.command(bench.folder), settings) as running:
        running.process.stop()
        bench.say(f"preloading {count:,} commands")
        await preload(settings, settings.commands_topic, workload(count, commands_a_day=COMMANDS_A_DAY))
        running.start()
        with Redis.from_url(bench.stack.redis) as redis:

            def look(_: int, committed: int) -> bool:
                now_s = time.perf_counter()
                if not looks or now_s - looks[-1]["at_s"] >= LOOK_EVERY_S or committed == count:
                    used_mb = redis.info("memory")["used_memory"] / 1e6
                    memory_mb = rss_mb(running.process.pid)
                    looks.append({"at_s": now_s, "commands": committed, "worker_mb": memory_mb, "redis_mb": used_mb})
                return committed == count

            await running.until(look)
        bench.say("asking the model about them")
        said, expected = Fingerprints(partitions), Fingerprints(partitions)
        async for partition, record in scan(settings, settings.events_topic):
            said.add(partition, record.value)
    for partition, value in model_events(workload(count, commands_a_day=COMMANDS_A_DAY), partitions):
        expected.add(partition, value)
    if said.read() != expected.read():
        raise Disagreement(f"{ONE_WORKER.title}: {said.events} events and not the model's {expected.events}")
    seconds = looks[-1]["at_s"] - looks[0]["at_s"]
    return {
        "commands": count,
        "per_second": round((count - looks[0]["commands"]) / seconds),
        "looks": [{name: round(value, 1) for name, value in each.items() if name != "at_s"} for each in looks],
    }


def show(figures: Figures) -> list[Table]:
    """Give the memory at some points of the way."""
    rows = []
    for share in SHOWN:
        there = next(each for each in figures["looks"] if each["commands"] >= share * figures["commands"])
        rows.append([f"{there['commands']:,.0f}", f"{there['worker_mb']:.0f}", f"{there['redis_mb']:.0f}"])
    title = f"{figures['commands']:,} commands, {figures['per_second']:,} a second, {COMMANDS_A_DAY:,} a day"
    return [Table(title, ("commands", "worker MB", "Redis MB"), rows)]


def draw(figures: Figures, folder: Path) -> list[Path]:
    """Draw the memory over the way."""
    commands = [each["commands"] / 1e6 for each in figures["looks"]]
    lines = {
        "worker": [each["worker_mb"] for each in figures["looks"]],
        "Redis": [each["redis_mb"] for each in figures["looks"]],
    }
    return [line(folder / "long.svg", "memory MB", "million commands", commands, lines)]


LONG = Measurement("long", "one worker's memory over millions of commands", measure, show, draw, by_default=False)
