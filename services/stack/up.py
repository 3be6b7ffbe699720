"""`opd up`: the whole system until somebody stops it."""

import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from services.board.addresses import start_page
from services.settings import Settings, without_password
from services.simulator.day import Day
from services.stack.progress import Progress
from services.stack.stack import Stack
from services.stack.state import DEFAULT_FOLDER
from services.stack.system import System, all_services

_CHECK_EVERY_S = 0.3


def up(  # noqa: PLR0913 - a command's options
    settings: Settings,
    *,
    state_dir: Annotated[Path, typer.Option(help="Where the state is kept between runs.")] = DEFAULT_FOLDER,
    kafka: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Use this running Kafka.")] = None,
    redis: Annotated[str | None, typer.Option(metavar="URL", help="Use this running Redis.")] = None,
    redis_server: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Start this redis-server instead of the Valkey of the wheel.")
    ] = None,
    postgres: Annotated[str | None, typer.Option(metavar="URL", help="Use this running PostgreSQL.")] = None,
    allocators: Annotated[int, typer.Option(min=1, help="How many allocators share the partitions.")] = 1,
    partitions: Annotated[int | None, typer.Option(min=1, help="Of each topic, if it must be created.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="When ready, print stack.json as one line.")] = False,
) -> None:
    """Run the whole system on this machine: Kafka, Redis, PostgreSQL, topics and every service.

    What is not given is started here, on free ports of the loopback. The state survives; Ctrl-C or SIGTERM stops
    everything that was started.
    """
    signal.signal(signal.SIGTERM, _stop)
    progress = Progress()
    stack = Stack(
        state_dir,
        kafka=kafka,
        redis=redis,
        redis_server=redis_server,
        postgres=postgres,
        with_postgres=True,
        progress=progress,
    )
    services = all_services(allocators=allocators, with_messages=settings.notifier_channels is not None)
    system = System(stack, settings, services, partitions=partitions, progress=progress)
    try:
        with system:
            if as_json:
                typer.echo(system.describe())
            else:
                _show(system, stack.folder)
            while True:
                system.check()
                time.sleep(_CHECK_EVERY_S)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")


def _stop(_signal: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: the second must not disturb the stopping
    raise KeyboardInterrupt


def _show(system: System, folder: Path) -> None:
    console = Console(highlight=False)
    table = Table("part", "address", "pid", box=SIMPLE)
    settings = system.settings
    kafka, redis, postgres = settings.kafka_bootstrap_servers, settings.redis_url, settings.postgres_url
    for part, address in {"kafka": kafka, "redis": redis, "postgres": postgres, **system.http}.items():
        process = system.processes.get(part)
        table.add_row(part, without_password(address), str(process.pid) if process else "not ours")
    console.print(table)
    console.print(f"State and logs: {folder}\n", soft_wrap=True)
    console.print("Next, in another terminal:")
    servers = f"OPD_KAFKA_BOOTSTRAP_SERVERS={shlex.quote(kafka)} OPD_REDIS_URL={shlex.quote(redis)}"
    console.print(f"  export {servers} OPD_POSTGRES_URL={shlex.quote(postgres)}", soft_wrap=True)
    console.print("  opd simulate    plays a seeded day into it")
    console.print("  opd verify      proves that nothing went wrong")
    console.print("\nIn a browser:")
    page = start_page(system.http["board"], Day.facility_id, settings)
    console.print(f"  {page}\n    leads to all pages: hall, kiosk, desk, doctors' rooms", soft_wrap=True)
    console.print(f"  {system.http['gateway']}/docs\n    shows what there is to ask over HTTP, and tries it\n")
    if settings.notifier_channels is None:
        console.print("Patients get no messages: --notifier-channels names a file of channels (docs/messages.md).\n")
    console.print("Stop it with Ctrl-C; the next `opd up` here goes on where this one ended.")
    warning = "A development stack: no passwords, no encryption, one copy of the data. Not for a hospital."
    console.print(Panel(warning, title="Warning", expand=False))
