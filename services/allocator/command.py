"""`opd allocator`."""

from typing import Annotated

import typer

from services.allocator.workers import run_workers
from services.settings import Settings

DEFAULT_HTTP_PORT = 8101


def allocator(
    settings: Settings,
    *,
    workers: Annotated[
        int, typer.Option(min=1, help="So many processes, at HTTP ports that follow each other; they end together.")
    ] = 1,
) -> None:
    """Decide commands until SIGTERM or Ctrl-C: then finish the batch in flight, commit, leave the group."""
    port = DEFAULT_HTTP_PORT if settings.http_port is None else settings.http_port
    if workers > 1:
        run_workers(settings, workers, port)
    else:
        from services.allocator.process import run_allocator  # noqa: PLC0415  not where workers do the work

        run_allocator(settings.model_copy(update={"http_port": port}))
