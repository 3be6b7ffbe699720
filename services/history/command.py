"""`opd history`: the projector, and what is done to its tables."""

import asyncio

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.bare_records import take_bare_records
from services.cli import ITSELF
from services.history.app import run_history
from services.history.postgres import wait_for_postgres
from services.history.rebuild import run_rebuild
from services.history.schema import migrate as lead_on
from services.settings import Settings

DEFAULT_HTTP_PORT = 8102


def history(settings: Settings) -> None:
    """Keep all that happened in PostgreSQL until SIGTERM or Ctrl-C: then finish the batch in flight."""
    port = DEFAULT_HTTP_PORT if settings.http_port is None else settings.http_port
    run_history(settings.model_copy(update={"http_port": port}))


def migrate(settings: Settings) -> None:
    """Make the tables and views, or lead them on to this version; `opd history` does so itself at its start."""

    async def run() -> str:
        await wait_for_postgres(settings.postgres_url, timeout_s=0)
        return await lead_on(settings.postgres_url, settings.history_schema)

    typer.echo(f"schema {settings.history_schema}: revision {asyncio.run(run())}")


def rebuild(settings: Settings) -> None:
    """Make the tables anew from the events topic; those that are there serve until then."""
    take_bare_records()
    columns = (TextColumn("rebuild"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rebuild", total=None)
        records = run_rebuild(settings, lambda done, of: bar.update(task, completed=done, total=of))
    typer.echo(f"schema {settings.history_schema}: made anew from {records:,} records")


COMMANDS = {ITSELF: history, "migrate": migrate, "rebuild": rebuild}
