"""Where an allocator's and Redis' microseconds go: `benchmarks.stages` as tables, and as a flame graph."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.measurement import Figures, Measurement, Table
from benchmarks.stages import whole_us

SAMPLES_PER_S = 200
FLAME_COMMANDS = 300_000  # enough for the imports to be a narrow tower
SPY = Path(sys.executable).with_name("py-spy")
_STAGES = (sys.executable, "-m", "benchmarks.stages")
_NOTE = (
    "The allocator's own functions, batch by batch with a real Redis and no Kafka; each stage as in its fastest batch, "
    "Redis in the mean. What is indented is a part of what stands above it."
)


async def measure(bench: Bench) -> Figures:
    """Give microseconds of processor time a command."""
    commands = min(bench.options.commands, 60_000)
    figures: Figures = json.loads(await asyncio.to_thread(_output, [*_STAGES, "--json", "--commands", f"{commands}"]))
    return figures


def _output(command: list[str]) -> bytes:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603  our own command


def show(figures: Figures) -> list[Table]:
    """Give a row for each stage of the allocator and each command of Redis."""
    rows = [*figures["stages"].items(), ("all of these", whole_us(figures["stages"]))]
    rows += [(f"Redis {name}" if name == "in all" else name, took_us) for name, took_us in figures["redis"].items()]
    cells = [[name.replace("  ", "· "), f"{took_us:.2f}"] for name, took_us in rows]
    return [Table("Where a command's time goes", ("", "CPU µs a command"), cells, _NOTE)]


def draw(_figures: Figures, folder: Path) -> list[Path]:
    """Record a flame graph of the same; none where py-spy is not allowed to look."""
    path = folder / "flame.svg"
    recording = [str(SPY), "record", "--function", "--rate", f"{SAMPLES_PER_S}", "--output", str(path), "--"]
    stages = [*_STAGES, "--commands", f"{FLAME_COMMANDS}"]
    ended = subprocess.run([*recording, *stages], check=False, capture_output=True)  # noqa: S603  our own command
    if ended.returncode != 0:
        sys.stderr.write(f"no flame graph: {ended.stderr.decode().strip()}\n")
        return []
    path.write_text(path.read_text().replace(" ".join([*recording, sys.executable]), "python"))  # nobody's folders
    return [path]


PROFILE = Measurement("profile", "where a command's time goes in allocator and Redis", measure, show, draw)
