"""How long `opd verify` takes to prove a long log, from a real Kafka."""

import asyncio
import json
import os
import subprocess
import sys
import time
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.bench import Bench
from benchmarks.contenders import ONE_WORKER
from benchmarks.kafka import preload
from benchmarks.long import COMMANDS_A_DAY
from benchmarks.measurement import Figures, Measurement, Table
from benchmarks.processes import rss_mb
from benchmarks.workload import workload
from services.settings import Settings
from services.stack.system import environment

LOOK_EVERY_S = 0.5
_DRAINS = 5  # so many times the commands of a drain: a million, unless fewer are asked for


async def measure(bench: Bench) -> Figures:
    """Have a worker decide a long topic, and then the auditor prove it."""
    count = _DRAINS * bench.options.commands
    settings = bench.settings("verify")
    async with bench.running(ONE_WORKER, ONE_WORKER.command(bench.folder), settings) as running:
        bench.say(f"having {count:,} commands decided")
        await preload(settings, settings.commands_topic, workload(count, commands_a_day=COMMANDS_A_DAY))
        await running.until(lambda _, committed: committed == count)
        running.process.stop()
        return await asyncio.to_thread(_verified, settings)


def _verified(settings: Settings) -> Figures:
    before, began = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "services.cli", "verify", "--json"]
    most_mb = 0.0
    with subprocess.Popen(command, env=os.environ | environment(settings), stdout=subprocess.PIPE) as process:  # noqa: S603  ours
        while True:
            try:
                said, _ = process.communicate(timeout=LOOK_EVERY_S)
                break
            except subprocess.TimeoutExpired:
                most_mb = max(most_mb, rss_mb(process.pid))
    took_s, after = time.perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    if process.returncode:
        raise RuntimeError(f"opd verify ended with exit code {process.returncode}: {said.decode()}")
    report = json.loads(said)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "commands": report["commands"],
        "events": report["events"],
        "took_s": round(took_s, 1),
        "cpu_s": round(used_s, 1),
        "memory_mb": round(most_mb),
    }


def show(figures: Figures) -> list[Table]:
    """Give one row."""
    row = [
        "opd verify",
        f"{figures['events']:,}",
        f"{figures['took_s']:.0f}",
        f"{figures['cpu_s']:.0f}",
        f"{figures['cpu_s'] / figures['events'] * 1e6:.1f}",
        f"{figures['memory_mb']}",
    ]
    columns = ("", "events", "seconds", "CPU seconds", "CPU µs an event", "memory MB")
    note = "I1 to I8, from the topics, in as many processes as there are processors; CPU and memory of all of them."
    return [Table(f"{figures['commands']:,} commands proven", columns, [row], note)]


VERIFY = Measurement("verify", "the audit of a long log", measure, show, by_default=False)
