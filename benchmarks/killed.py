"""Killed in the middle of a drain and started again at once: when it decides again, and what it says then."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.contender import Contender
from benchmarks.expected import differences
from benchmarks.kafka import read
from benchmarks.measurement import Figures, Measurement, Table
from benchmarks.plots import bars

KILLED_AT = 0.4  # of its events
IN_FLIGHT_MS = 200  # what left the process before it died is appended by then, and no new one has begun


async def measure(bench: Bench) -> Figures:
    """Kill everybody once."""
    rows = []
    for contender in bench.options.contenders:
        command = bench.command_of(contender)
        if command is not None and not contender.moves:
            rows.append(await _kill(bench, contender, command))
    return {"rows": rows}


async def _kill(bench: Bench, contender: Contender, command: Sequence[str | Path]) -> Figures:
    workload = await bench.workload(round(bench.options.commands * contender.share))
    settings = bench.settings(f"{contender.name}.killed", workload.topic)
    enough = sum(map(len, workload.events.values())) * KILLED_AT
    async with bench.running(contender, command, settings) as running:
        await running.until(lambda events, _: events >= enough)
        dead_at_ms = running.kill_and_start() * 1000
        await running.until(lambda _, committed: committed == workload.commands)
        appended = await read(settings, settings.events_topic, bench.options.partitions)
    later_ms = [
        record.timestamp_ms
        for records in appended.values()
        for record in records
        if record.timestamp_ms > dead_at_ms + IN_FLIGHT_MS
    ]
    if not later_ms:
        raise RuntimeError(f"{contender.title} had said everything before it was killed: more --commands are needed")
    values = {partition: [record.value for record in records] for partition, records in appended.items()}
    found = differences(values, workload.events)
    seconds = round((min(later_ms) - dead_at_ms) / 1000, 1)
    bench.say(f"{contender.title}: killed, decides again after {seconds} s")
    return {
        "title": contender.title,
        "keeps": contender.keeps,
        "seconds": seconds,
        "again": found.again,
        "otherwise": found.otherwise,
        "events": sum(map(len, workload.events.values())),
    }


def show(figures: Figures) -> list[Table]:
    """Give a row for each."""
    rows = []
    for row in figures["rows"]:
        counts = [f"{row[name]:,}" for name in ("again", "otherwise", "events")]
        rows.append([row["title"], row["keeps"], f"{row['seconds']:.1f}", *counts])
    columns = ("", "what it keeps", "seconds", "events said again", "lost or said otherwise", "of events")
    note = "SIGKILL when two fifths were said, started again at once; until the first new event was appended."
    return [Table("Killed, and deciding again", columns, rows, note)]


def draw(figures: Figures, folder: Path) -> list[Path]:
    """Draw the seconds of each."""
    names, seconds = [row["title"] for row in figures["rows"]], [[row["seconds"]] for row in figures["rows"]]
    return [bars(folder / "killed.svg", "seconds from SIGKILL to the next event", names, seconds)]


KILLED = Measurement("killed", "killed in the middle of a drain, then started again", measure, show, draw)
