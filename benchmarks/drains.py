"""How fast a preloaded topic is decided, and what a decision costs, beside moving the bytes alone."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from redis.asyncio import Redis

from benchmarks.bench import POLL_S, Bench, Running, Workload
from benchmarks.calibration import codec, raw_lua
from benchmarks.contender import Contender
from benchmarks.contenders import ONE_WORKER, PASSTHROUGH
from benchmarks.expected import compare
from benchmarks.kafka import read
from benchmarks.measurement import Figures, Measurement, Table, spread
from benchmarks.plots import bars, stacked_bars
from benchmarks.processes import cpu_s, rss_mb

FIRST_POLL_S = 0.02
CALIBRATION = {"codec": "the codec alone", "raw-lua": "the script alone"}
NOTE = (
    "Every event is compared with the model's. The second half is without the start of a Java compiler. CPU is of the "
    "process itself, Kafka and its store. What is slow gets fewer commands."
)


async def measure(bench: Bench) -> Figures:
    """Drain with everybody, so many times; what belongs together was measured one after the other."""
    runs = []
    for number in range(bench.options.runs):
        run: Figures = {"codec": codec(bench), "raw-lua": await raw_lua(bench)}
        for contender in bench.options.contenders:
            command = bench.command_of(contender)
            if command is not None:
                figures = run[contender.name] = await _drain(bench, contender, command)
                bench.say(
                    f"run {number + 1} of {bench.options.runs}: {contender.title}: {figures['per_second']:,} a second"
                )
        runs.append(run)
    titles = {each.name: each.title for each in bench.options.contenders}
    return {"runs": runs, "titles": titles, "left_out": bench.left_out}


async def peak_per_second(bench: Bench, contender: Contender) -> int:
    """Give how many commands a second somebody decided in the last drain; there is one now if there was none."""
    if contender.name not in bench.peaks:
        await _drain(bench, contender, contender.command(bench.folder))
    return bench.peaks[contender.name]


async def _drain(bench: Bench, contender: Contender, command: Sequence[str | Path]) -> Figures:
    workload = await bench.workload(round(bench.options.commands * contender.share))
    settings = bench.settings(contender.name, workload.topic)
    async with bench.running(contender, command, settings) as running:
        figures = await drained(bench, running, workload, contender)
        bench.peaks[contender.name] = figures["per_second"]
        if contender == ONE_WORKER:
            figures["rebuild_per_second"] = await _rebuild(bench, running, workload)
    return figures


async def drained(bench: Bench, running: Running, workload: Workload, contender: Contender) -> Figures:
    """Wait until a contender that runs has decided all, hold what it said to the model, and give its figures."""
    early = await running.until(lambda events, _: events > 0, poll_s=FIRST_POLL_S)
    before = cpu_s(running.parts)
    said = await running.until(lambda _, committed: committed == workload.commands)
    after = cpu_s(running.parts)
    if said == early:
        raise RuntimeError(f"{contender.title} had said everything at the first look: more --commands are needed")
    memory_mb = rss_mb(running.process.pid)
    appended = await read(running.settings, running.settings.events_topic, bench.options.partitions)
    values = {partition: [record.value for record in records] for partition, records in appended.items()}
    compare(contender.title, values, workload.expected_of(contender))
    decided = workload.commands * (said - early) / said
    times_ms = sorted(record.timestamp_ms for records in appended.values() for record in records)
    return {
        "commands": workload.commands,
        "per_second": _per_second(times_ms, workload.commands, times_ms[0]),
        "second_half_per_second": _per_second(times_ms, workload.commands, times_ms[len(times_ms) // 2]),
        "cpu_us": {part: round((after[part] - used) / decided * 1e6, 2) for part, used in before.items()},
        "memory_mb": round(memory_mb, 1),
    }


def _per_second(times_ms: list[int], commands: int, since_ms: int) -> int:
    """Give the commands a second from a moment to the last event, by when the broker appended the events."""
    later = len(times_ms) - bisect_left(times_ms, since_ms + 1)
    return round(commands * later / len(times_ms) / max(1, times_ms[-1] - since_ms) * 1000)


async def _rebuild(bench: Bench, running: Running, workload: Workload) -> int:
    """Give the commands a second at which a worker that starts on an empty Redis decides again what was said."""
    running.process.stop()
    async with Redis.from_url(bench.stack.redis) as redis:
        await redis.flushall()
        running.start()
        seen_at, seen = time.perf_counter(), 0
        while (applied := await _applied(redis, bench.options.partitions)) < workload.commands:
            if not seen:
                seen_at, seen = time.perf_counter(), applied
            await asyncio.sleep(POLL_S)
            running.check()
        return round((workload.commands - seen) / (time.perf_counter() - seen_at))


async def _applied(redis: Redis, partitions: int) -> int:
    """Give how many commands the state holds."""
    marks = [await redis.hget(f"opd{{{number}}}", "applied") for number in range(partitions)]
    return sum(int(mark) + 1 for mark in marks if mark is not None)


def show(figures: Figures) -> list[Table]:
    """Give a row for each, ratios taken within each run."""
    runs, titles = figures["runs"], CALIBRATION | figures["titles"]
    rows = []
    for name, title in titles.items():
        own = [run[name] for run in runs if name in run]
        if not own:
            continue
        cpu_us = {part: median(each["cpu_us"][part] for each in own) for part in own[0]["cpu_us"]}
        rows.append(
            [
                title,
                spread("{:,.0f}", [each["per_second"] for each in own]),
                spread("{:.2f}", ratios(runs, name)),
                spread("{:,.0f}", [each["second_half_per_second"] for each in own if "memory_mb" in each]),
                f"{sum(cpu_us.values()):.1f}",
                " + ".join(f"{part} {used:.1f}" for part, used in cpu_us.items()),
                spread("{:.0f}", [each["memory_mb"] for each in own if "memory_mb" in each]),
            ]
        )
    columns = ("", "decisions/s", "of the bytes alone", "second half", "CPU µs", "CPU µs by process", "memory MB")
    note = " ".join([NOTE, *(f"{title} is left out: {why}." for title, why in figures["left_out"].items())])
    tables = [Table(f"A preloaded topic: medians of {len(runs)} runs (lowest to highest)", columns, rows, note)]
    rebuilt = [run[ONE_WORKER.name] for run in runs if ONE_WORKER.name in run]
    if rebuilt:
        rates = [each["rebuild_per_second"] for each in rebuilt]
        shares = [each["rebuild_per_second"] / each["per_second"] for each in rebuilt]
        row = [ONE_WORKER.title, spread("{:,.0f}", rates), spread("{:.2f}", shares)]
        tables.append(Table("An empty Redis rebuilt from the log", ("", "commands/s", "of the drain"), [row]))
    return tables


def ratios(runs: list[Figures], name: str, of: str = PASSTHROUGH.name) -> list[float]:
    """Give how many decisions a second somebody made for one of somebody else's, run by run."""
    return [run[name]["per_second"] / run[of]["per_second"] for run in runs if name in run and of in run]


def draw(figures: Figures, folder: Path) -> list[Path]:
    """Draw who drains how fast, and what a decision costs."""
    runs = figures["runs"]
    names = [name for name in figures["titles"] if any(name in run for run in runs)]
    titles = [figures["titles"][name] for name in names]
    shares = [ratios(runs, name) for name in names]
    parts = [
        {part: median(run[name]["cpu_us"][part] for run in runs) for part in runs[0][name]["cpu_us"]} for name in names
    ]
    return [
        bars(folder / "drains.svg", "decisions a second, the bytes alone being 1", titles, shares),
        stacked_bars(folder / "cpu.svg", "CPU µs a decision", titles, parts),
    ]


DRAINS = Measurement("drains", "a preloaded topic, everybody in turn; ours with a rebuild", measure, show, draw)
