"""All that can be measured, in the order in which it is, and a run of some of it."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.bench import Bench, Options
from benchmarks.board import BOARD
from benchmarks.drains import DRAINS
from benchmarks.gateway import GATEWAY
from benchmarks.history import HISTORY
from benchmarks.killed import KILLED
from benchmarks.latency import LATENCY
from benchmarks.long import LONG
from benchmarks.measurement import Measurement
from benchmarks.memory import MEMORY
from benchmarks.profile import PROFILE
from benchmarks.report import machine
from benchmarks.verify import VERIFY

MEASUREMENTS: tuple[Measurement, ...] = (
    DRAINS,
    PROFILE,
    LATENCY,
    KILLED,
    MEMORY,
    HISTORY,
    GATEWAY,
    BOARD,
    LONG,
    VERIFY,
)


def run(options: Options, measurements: Iterable[Measurement]) -> dict[str, Any]:
    """Start the servers, measure, and give all figures, of the machine too."""
    with tempfile.TemporaryDirectory(prefix="opd-bench-") as folder, Bench(options, Path(folder)) as bench:
        results: dict[str, Any] = {"machine": machine(bench.stack)}
        for each in measurements:
            bench.say(f"{each.name}: {each.what}")
            results[each.name] = uvloop.run(each.measure(bench))
    return results
