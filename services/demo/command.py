"""`opd demo`: the whole system, a day through it, the audit, and what came of it."""

import asyncio
import json
import signal
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from services.auditor.command import print_report
from services.auditor.kafka import audit_topics
from services.auditor.report import Report as Audit
from services.board.addresses import hall
from services.demo import report as reports
from services.demo.figures import Figures
from services.demo.history import kept_of
from services.demo.place import Place
from services.demo.report import Outcome
from services.demo.watch import watching
from services.errors import OpdError
from services.settings import Settings
from services.simulator.day import DEFAULT_SEED, Day
from services.simulator.play import Onlooker, Summary, play
from services.stack.progress import Progress
from services.stack.state import DEFAULT_FOLDER
from services.stack.system import System

_TITLE = "A hospital's day"
_CHECK_EVERY_S = 0.5
_NEXT = {
    "up": "the same system, to stay: README.md shows how to talk to it",
    "demo --speed 600 --patients 1000": "a slower day, more patients",
    "verify": "the audit of a running system: docs/architecture.md",
}


def demo(  # noqa: PLR0913  each is a flag
    settings: Settings,
    *,
    seed: Annotated[int, typer.Option(help="The same seed plays the same day.")] = DEFAULT_SEED,
    doctors: Annotated[int, typer.Option(help="How many work.")] = 12,
    patients: Annotated[int, typer.Option(help="How many come.")] = 400,
    departments: Annotated[int, typer.Option(help="Among how many departments.")] = 4,
    speed: Annotated[float, typer.Option(min=0, help="Virtual seconds a real one; 0: as fast as it goes.")] = 3600,
    state_dir: Annotated[Path | None, typer.Option(help="Keep the state there; left out: a temporary folder.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep that folder, and what given servers hold.")] = False,
    kafka: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Use this running Kafka.")] = None,
    redis: Annotated[str | None, typer.Option(metavar="URL", help="Use this running Redis.")] = None,
    redis_server: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Start this redis-server instead of the Valkey of the wheel.")
    ] = None,
    postgres: Annotated[str | None, typer.Option(metavar="URL", help="Use this running PostgreSQL.")] = None,
    report: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Write report.json and report.txt there.")
    ] = DEFAULT_FOLDER / "demo",
    open_hall: Annotated[bool, typer.Option("--open", help="Open the hall's display in a browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="No live view; one JSON object at the end.")] = False,
) -> None:
    """Play a simulated day through the whole system, show it live, and prove that nothing went wrong.

    Everything that it starts is its own, on free ports, and is gone afterwards. Exit code 0 only if the audit holds.
    """
    run = f"{time.time_ns() // 1_000_000:x}"
    day = _day(seed, doctors, patients, departments, run)
    place = Place(
        run,
        state_dir=state_dir,
        keep=keep,
        kafka=kafka,
        redis=redis,
        redis_server=redis_server,
        postgres=postgres,
    )
    place.check()
    reports.prepare(report)
    try:
        with _signals_interrupt():
            outcome = _play_and_audit(place, settings, day, speed, live=not as_json, open_hall=open_hall)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing is left running\n")
        raise
    except OpdError:
        _say_what_is_kept(place)
        raise
    reports.write(outcome, report)
    if as_json:
        typer.echo(json.dumps(outcome.as_json()))
    else:
        _show(outcome, report)
    _say_what_is_kept(place)
    if not outcome.audit.holds:
        raise typer.Exit(1)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM do as Ctrl-C does, and the first of them alone."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> NoReturn:
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    """The next one must not disturb the stopping."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _day(seed: int, doctors: int, patients: int, departments: int, run: str) -> Day:
    """Plan a day of a facility of this run's own, so that a state folder can see more than one."""
    today = datetime.now(UTC).date().isoformat()
    try:
        return Day(seed, today, doctors, patients, departments, facility_id=f"demo-{run}", run=run)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _play_and_audit(  # noqa: PLR0913  what the user may choose
    place: Place, settings: Settings, day: Day, speed: float, *, live: bool, open_hall: bool
) -> Outcome:
    console = Console(stderr=True, highlight=False)
    console.print(
        f"A day of {day.doctors:,} doctors and {day.patients:,} patients in {day.departments} departments, "
        "through the whole system. Starting it:",
        soft_wrap=True,
    )
    with place.system(settings, Progress()) as system:
        _show_the_hall(system, day, console, open_it=open_hall)
        with watching(console, day.day, _TITLE, live=live) as watch:
            played = _play(system, day, speed, watch.take)
        audit = _audit(system.settings, console)
        kept = asyncio.run(kept_of(system.settings, day.facility_id, audit.partitions))
        place.keep = place.keep or not audit.holds
    return Outcome(played, Figures.of(watch.board), audit, kept)


def _show_the_hall(system: System, day: Day, console: Console, *, open_it: bool) -> None:
    departments = [plan.department_id for plan in day.plan()]
    address = hall(system.http["board"], day.facility_id, departments, day.day)
    console.print(f"The hall's display: {address}", soft_wrap=True)
    if open_it and not webbrowser.open(address):
        console.print("There is no browser here to open it in.")


def _play(system: System, day: Day, speed: float, onlooker: Onlooker) -> Summary:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio then cancels the day, and lets it end in order
    try:
        played = asyncio.run(_play_as_long_as_all_runs(system, day, speed, onlooker))
    except KeyboardInterrupt:
        _ignore_signals()
        raise
    signal.signal(signal.SIGINT, _interrupt)
    return played


async def _play_as_long_as_all_runs(system: System, day: Day, speed: float, onlooker: Onlooker) -> Summary:
    playing = asyncio.create_task(
        play(day, system.settings, speed=speed, on_event=onlooker, gateway=system.http["gateway"])
    )
    try:
        while not (await asyncio.wait({playing}, timeout=_CHECK_EVERY_S))[0]:
            system.check()
        return await playing
    finally:
        playing.cancel()
        await asyncio.wait({playing})


def _audit(settings: Settings, console: Console) -> Audit:
    bars = Bars(TextColumn("audit"), BarColumn(), MofNCompleteColumn(), console=console, transient=True)
    bars.disable = not console.is_terminal
    with bars:
        task = bars.add_task("audit", total=None)
        return audit_topics(
            settings,
            redis=True,
            started=lambda commands: bars.update(task, total=commands),
            progress=lambda commands: bars.advance(task, commands),
        )


def _show(outcome: Outcome, folder: Path) -> None:
    console = Console(highlight=False)
    console.print()
    console.print(reports.summary(outcome))
    console.print()
    print_report(outcome.audit, console)
    console.print(f"\nReport: {folder / 'report.txt'}, all figures: {folder / 'report.json'}\n", soft_wrap=True)
    console.print("Next:", style="bold")
    # Without the venv on the path, the words to type are those that were typed.
    program = "opd" if which("opd") or Path(sys.argv[0]).name != "opd" else sys.argv[0]
    for words, what in _NEXT.items():
        console.print(f"  {program} {words:<33} {what}", soft_wrap=True)


def _say_what_is_kept(place: Place) -> None:
    if place.keep and place.folder is not None and place.folder.exists():
        sys.stderr.write(f"state and logs are kept in {place.folder}\n")
