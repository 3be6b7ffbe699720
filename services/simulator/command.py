"""`opd simulate`: the day of `day.py`, played into a running system."""

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from services.settings import Settings
from services.simulator.day import DEFAULT_SEED, HOUR_MS, MINUTE_MS, OPENS_MS, Day
from services.simulator.play import Happening, Summary, percentiles, play

_USUAL_END_MS = 18 * HOUR_MS


def simulate(  # noqa: PLR0913  each is a flag
    settings: Settings,
    *,
    seed: Annotated[int, typer.Option(help="The same seed plays the same day.")] = DEFAULT_SEED,
    speed: Annotated[str, typer.Option(metavar="N|max", help="Virtual seconds a real one; max: no waiting.")] = "max",
    doctors: Annotated[int, typer.Option(help="How many work.")] = 12,
    patients: Annotated[int, typer.Option(help="How many come.")] = 400,
    departments: Annotated[int, typer.Option(help="Among how many departments.")] = 4,
    day: Annotated[str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="Of the slots; today (UTC).")] = None,
    facility: Annotated[str, typer.Option(help="The hospital's id.")] = "blr1",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a command may go unanswered.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Play a day of doctors and patients into the system that runs."""
    pace = _speed(speed)
    planned = _day(
        seed=seed,
        day=_date(day),
        doctors=doctors,
        patients=patients,
        departments=departments,
        facility_id=facility,
        run=f"{time.time_ns() // 1_000_000:x}",  # ids of its own: the same day may be played again
    )
    console = Console(stderr=True)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[sent]}"), console=console)
    with bar if sys.stderr.isatty() else nullcontext():
        task = bar.add_task("06:00", total=_USUAL_END_MS - OPENS_MS, sent="")
        sent = 0

        def show(happening: Happening) -> None:
            nonlocal sent
            if happening.answered_ms is None:
                sent += 1
            clock = f"{happening.at_ms // HOUR_MS:02d}:{happening.at_ms % HOUR_MS // MINUTE_MS:02d}"
            bar.update(task, completed=happening.at_ms - OPENS_MS, description=clock, sent=f"{sent:,} commands")

        summary = asyncio.run(play(planned, settings, speed=pace, on_event=show, timeout_s=timeout))
    if as_json:
        typer.echo(json.dumps(summary.as_json()))
    else:
        _print(summary)


def _speed(text: str) -> float:
    try:
        speed = 0.0 if text == "max" else float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < float("inf"):
        raise typer.BadParameter(f"--speed: a number or max, not {text}")
    return speed


def _day(**given: int | str) -> Day:
    try:
        return Day(**given)  # type: ignore[arg-type]  # each is what its flag is
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _date(text: str | None) -> str:
    """R3: what lies further off than this is refused command by command."""
    today = datetime.now(UTC).date()
    try:
        day = date.fromisoformat(text) if text else today
    except ValueError:
        raise typer.BadParameter(f"--date: {text} is no date") from None
    if not today - timedelta(days=1) <= day <= today + timedelta(days=180):
        raise typer.BadParameter(f"--date: from yesterday to 180 days from now, not {day}")
    return day.isoformat()


def _print(summary: Summary) -> None:
    total, answers, waits = summary.commands.total(), percentiles(summary.answered_ms), percentiles(summary.waits_ms)
    events, day = summary.events.total(), summary.day
    said = f"{total:,} commands, {events:,} events and {summary.dead_letters} dead letters in {summary.seconds:.1f} s"
    lines = [
        f"{day.day}, seed {day.seed}: {said}",
        f"half were answered within {answers[50]:.0f} ms, 99 % within {answers[99]:.0f} ms",
        f"commands: {_counts(summary.commands)}",
        f"events: {_counts(summary.events)}",
        f"refusals: {_counts(summary.refusals)}",
    ]
    if summary.waits_ms:
        median, ninth = (waits[at] / MINUTE_MS for at in (50, 90))
        lines.append(f"of the patients called half had waited {median:.0f} minutes or less, 90 % {ninth:.0f} or less")
    if summary.refusals["SLOT_CLOSED"] > total / 4:
        lines.append("the slots were closed already, by a day played before: try another --date or --facility")
    typer.echo("\n".join(lines))


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"
