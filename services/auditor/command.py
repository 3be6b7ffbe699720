"""`opd verify`: the audit of the system that runs."""

import asyncio
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

from services.auditor.kafka import audit_topics
from services.auditor.metrics import VerifyMetrics
from services.auditor.report import Invariant, Report
from services.errors import OpdError
from services.settings import Settings

if TYPE_CHECKING:
    from services.history.compare import Compared
    from services.trail.check import Checked


def verify(  # noqa: PLR0913  each is a flag
    settings: Settings,
    *,
    wait_s: Annotated[float, typer.Option(min=0, help="Seconds that commands there are may still go undecided.")] = 30,
    limit: Annotated[int, typer.Option(min=1, help="Breaches shown for an invariant.")] = 10,
    redis: Annotated[bool, typer.Option(help="Compare what Redis keeps with the model too (I9).")] = False,
    history: Annotated[bool, typer.Option(help="Compare PostgreSQL with the log, row for row.")] = False,
    audit: Annotated[bool, typer.Option(help="Check the audit trail's chain.")] = False,
    snapshot: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Begin where the newest snapshots there end.", file_okay=False),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Leave the verdict there for Prometheus.", dir_okay=False),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Partitions audited at the same time; of a long log as many as there are processors."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Prove from the topics that every command was decided once, in order and by the rules; exit 1 if not."""
    bar = Progress(*Progress.get_default_columns()[:-1], TimeRemainingColumn(), console=Console(stderr=True))
    with bar if sys.stderr.isatty() else nullcontext():
        task = bar.add_task("commands", total=None)
        report = audit_topics(
            settings,
            wait_s=wait_s,
            limit=limit,
            redis=redis,
            snapshots=snapshot,
            processes=processes,
            started=lambda commands: bar.update(task, total=commands),
            progress=lambda commands: bar.advance(task, commands),
        )
    if metrics is not None:
        VerifyMetrics().write(report, metrics)
    if settings.verify_report is not None:
        _keep(report, settings.verify_report)
    beside = _look_into_postgres(settings, history=history, audit=audit)
    if as_json:
        found = {name: each._asdict() for name, each in beside.items()}
        typer.echo(json.dumps(report.as_json() | found))
    else:
        console = Console(highlight=False)
        print_report(report, console)
        for each in beside.values():
            console.print(_in_words(each), soft_wrap=True)
    if not report.holds or any(each.fault for each in beside.values()):
        raise typer.Exit(1)


def _look_into_postgres(settings: Settings, *, history: bool, audit: bool) -> dict[str, "Compared | Checked"]:
    # Whoever audits the topics alone needs nothing of PostgreSQL.
    found: dict[str, Compared | Checked] = {}
    if history:
        from services.history.compare import compare  # noqa: PLC0415

        found["history"] = asyncio.run(compare(settings))
    if audit:
        from services.trail.check import check  # noqa: PLC0415

        found["audit"] = asyncio.run(check(settings))
    return found


def _in_words(found: "Compared | Checked") -> str:
    verdict = f"[red]BROKEN[/red]: {found.fault}" if found.fault else "[green]holds[/green]"
    return f"{found.said}: {verdict}"


def _keep(report: Report, file: Path) -> None:
    """Leave it for the page of whoever runs the system, which may be reading the last one."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        unfinished.write_text(json.dumps(report.as_json()) + "\n")
        unfinished.replace(file)
    except OSError as error:
        raise OpdError(f"the report cannot be written to {file}: {error.strerror}") from error


def print_report(report: Report, console: Console) -> None:
    """Print what was audited, and each invariant with the records that break it."""
    console.print(
        f"Audited {report.commands:,} commands of {report.departments:,} departments in "
        f"{report.partitions} partitions, {report.events:,} events, {report.dead_letters:,} dead letters.",
        soft_wrap=True,
    )
    for partition, offset in report.began_behind.items():
        console.print(f"Partition {partition} was audited behind offset {offset}, from a snapshot.", soft_wrap=True)
    if report.repeats:
        console.print(f"{report.repeats:,} of them are repeats, the same to the byte.")
    if report.expired:
        console.print(f"{report.expired:,} more dead letters have expired; that they stood there is not proven.")
    if report.ahead:
        console.print(f"{report.ahead:,} more belong to commands that came after the audit's start.")
    for invariant in Invariant:
        console.print(f"{invariant.value} {_verdict(invariant, report)} {invariant.meaning}", soft_wrap=True)
        for breach in report.breaches.get(invariant, []):
            console.print(f"   {breach.text}", markup=False, soft_wrap=True)
            for name in breach.records:
                console.print(f"      {name}", markup=False, soft_wrap=True)
        unshown = report.broken[invariant] - len(report.breaches.get(invariant, []))
        if unshown:
            console.print(f"   and {unshown:,} more")


def _verdict(invariant: Invariant, report: Report) -> str:
    if invariant in report.unchecked:
        return "[yellow]not looked at[/yellow]:"
    return "[red]BROKEN[/red]" if invariant in report.broken else "[green]holds [/green]"
