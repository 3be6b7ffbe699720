"""How fast the history keeps what the allocator said: events into PostgreSQL, from a topic that is full."""

import asyncio
import sys
import time
from statistics import median
from typing import Any

import asyncpg

from benchmarks.bench import POLL_S, STALLED_AFTER_S, Bench, Running
from benchmarks.contenders import ONE_WORKER
from benchmarks.drains import FIRST_POLL_S, drained
from benchmarks.measurement import Figures, Measurement, Table, spread
from benchmarks.processes import cpu_s
from services.history.compare import compare
from services.history.postgres import connect
from services.history.schema import migrate
from services.stack.process import Process
from services.stack.system import environment


async def measure(bench: Bench) -> Figures:
    """Have a worker decide a topic, then a projector keep what it said, so many times."""
    workload = await bench.workload(bench.options.commands)
    runs = []
    for number in range(bench.options.runs):
        schema = f"bench_history_{number}"
        settings = bench.settings("history", workload.topic)
        settings = settings.model_copy(update={"postgres_url": bench.postgres.url, "history_schema": schema})
        async with bench.running(ONE_WORKER, ONE_WORKER.command(bench.folder), settings) as running:
            decided = await drained(bench, running, workload, ONE_WORKER)
            events = await running.marks.events()
            running.process.stop()
            kept = await _kept(bench, running, events)
        said_per_second = round(decided["per_second"] * events / workload.commands)
        bench.say(f"run {number + 1}: {kept['per_second']:,} events kept a second, {said_per_second:,} said a second")
        runs.append({"decided_per_second": decided["per_second"], "said_per_second": said_per_second, **kept})
    return {"runs": runs}


async def _kept(bench: Bench, running: Running, events: int) -> Figures:
    """Run a projector on an empty schema until it has kept all, and compare what it kept with the log."""
    settings = running.settings
    await migrate(settings.postgres_url, settings.history_schema)
    process = Process("history", bench.folder / f"{settings.history_schema}.log")
    connection = await connect(settings.postgres_url, settings.history_schema)
    try:
        process.start([sys.executable, "-m", "services.cli", "history", "--http-port", "0"], environment(settings))
        parts = {
            "history": process.pid,
            "postgres": bench.postgres.process.pid,
            "kafka": bench.stack.pids["kafka"],
        }
        early = await until_kept(connection, 1, process, poll_s=FIRST_POLL_S)
        before, began = cpu_s(parts), time.perf_counter()
        await until_kept(connection, events, process)
        after, took_s = cpu_s(parts), time.perf_counter() - began
    finally:
        await connection.close()
        process.stop()
    if early == events:
        raise RuntimeError("the history had kept everything at the first look: more --commands are needed")
    compared = await compare(settings)
    if compared.fault is not None or compared.records != events:
        raise RuntimeError(f"PostgreSQL is not what the log says: {compared.fault or compared.said}")
    kept = events - early
    return {
        "events": events,
        "rows": compared.rows,
        "per_second": round(kept / took_s),
        "cpu_us": {part: round((after[part] - used) / kept * 1e6, 2) for part, used in before.items()},
    }


async def until_kept(connection: asyncpg.Connection, events: int, process: Process, *, poll_s: float = POLL_S) -> int:
    """Wait until PostgreSQL has so many events of the topic, and give how many it has.

    Raises:
        RuntimeError: the projector ended, or keeps nothing any more; the text ends with the last lines of its log.
    """
    before, moved_at = -1, time.monotonic()
    while (kept := await connection.fetchval("SELECT coalesce(sum(next_offset), 0)::bigint FROM positions")) < events:
        if kept != before:
            before, moved_at = kept, time.monotonic()
        if not process.running or time.monotonic() - moved_at > STALLED_AFTER_S:
            raise RuntimeError("\n".join([f"{kept} of {events} events are kept", *process.last_log_lines()]))
        await asyncio.sleep(poll_s)
    return int(kept)


def show(figures: Figures) -> list[Table]:
    """Give one row, ratios taken within each run."""
    runs: list[dict[str, Any]] = figures["runs"]
    cpu_us = {part: median(run["cpu_us"][part] for run in runs) for part in runs[0]["cpu_us"]}
    rows_per_second = [run["per_second"] * run["rows"] / run["events"] for run in runs]
    row = [
        "opd history",
        spread("{:,.0f}", [run["per_second"] for run in runs]),
        spread("{:,.0f}", rows_per_second),
        spread("{:,.0f}", [run["decided_per_second"] for run in runs]),
        spread("{:.2f}", [run["per_second"] / run["decided_per_second"] for run in runs]),
        spread("{:.2f}", [run["per_second"] / run["said_per_second"] for run in runs]),
        f"{sum(cpu_us.values()):.1f}",
        " + ".join(f"{part} {used:.1f}" for part, used in cpu_us.items()),
    ]
    columns = (
        "",
        "events kept/s",
        "in rows/s",
        "a worker's decisions/s",
        "events kept for one decision",
        "for one event said",
        "CPU µs an event",
        "CPU µs by process",
    )
    note = (
        f"{runs[0]['events']:,} events become {runs[0]['rows']:,} rows. One after the other, each with the machine for "
        "itself: a worker decides the commands, then a projector keeps its events in an empty schema. What PostgreSQL "
        "has at the end is compared with the log, row for row."
    )
    return [Table(f"Events into PostgreSQL: medians of {len(runs)} runs (lowest to highest)", columns, [row], note)]


HISTORY = Measurement("history", "a full events topic into PostgreSQL, beside the decisions", measure, show)
