"""`opd notifier`: messages to patients, and what is done about those that did not arrive."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import asyncpg
import typer

from services.cli import ITSELF
from services.errors import OpdError
from services.history.postgres import connect, wait_for_postgres
from services.history.schema import migrate
from services.notifier import outbox
from services.settings import Settings

DEFAULT_HTTP_PORT = 8104
_T = TypeVar("_T")


class NoChannels(OpdError):  # noqa: N818  it is what it is
    """Nothing says how messages leave."""

    exit_code = 2


def notifier(settings: Settings) -> None:
    """Tell patients what changes about their tokens, until SIGTERM or Ctrl-C: then let what is on its way arrive."""
    from services.notifier.app import run_notifier  # noqa: PLC0415  not for the other commands
    from services.notifier.channels import read_channels  # noqa: PLC0415  likewise

    if settings.notifier_channels is None:
        raise NoChannels("OPD_NOTIFIER_CHANNELS is not set\ntry: a file of channels, as docs/messages.md shows")
    channels = read_channels(settings.notifier_channels)
    port = DEFAULT_HTTP_PORT if settings.http_port is None else settings.http_port
    run_notifier(settings.model_copy(update={"http_port": port}), channels)


def dead(settings: Settings, *, most: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100) -> None:
    """List the messages that were given up: which, of which token, why."""

    async def listed(connection: asyncpg.Connection) -> list[Any]:
        return await outbox.dead(connection, most)

    for row in _in_outbox(settings, listed):
        typer.echo(
            f"{row['id']}  {row['died_at']:%Y-%m-%dT%H:%M:%SZ}  {row['kind']} of {row['token_id']}  "
            f"{row['channel'] or '-'}: {row['fault']}"
        )


def resend(
    settings: Settings,
    *,
    message: Annotated[list[int] | None, typer.Option(help="Which; may be given several times.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Give messages that were given up another chance; those that something newer overtook are not sent."""
    if bool(message) == every:
        raise typer.BadParameter("say which with --message, or --all")

    async def sent_again(connection: asyncpg.Connection) -> int:
        return await outbox.resend(connection, message or None)

    typer.echo(f"{_in_outbox(settings, sent_again)} messages will be sent again")


COMMANDS = {ITSELF: notifier, "dead": dead, "resend": resend}


def _in_outbox(settings: Settings, do: Callable[[asyncpg.Connection], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        await wait_for_postgres(settings.postgres_url, timeout_s=0)
        await migrate(settings.postgres_url, settings.notifier_schema, outbox.VERSIONS)
        connection = await connect(settings.postgres_url, settings.notifier_schema)
        try:
            return await do(connection)
        finally:
            await connection.close()

    return asyncio.run(run())
