"""The console script `opd`: one subcommand for each thing that runs."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from services.errors import OpdError


class _Line(NamedTuple):
    """One command: its function, its line in `opd --help`, and how settings begin that its user does not choose.

    The module is imported when the command is called, so that `opd --help` is quick. A parameter `settings` of the
    function becomes one flag for each setting of spec §5; every command has `--debug` besides. In place of a function
    there may stand the functions of a group by name: `opd {group} {name}`, and under `ITSELF` that of `opd {group}`.
    """

    function: str
    help: str
    without: tuple[str, ...] = ()


ITSELF = None
_STARTED_HERE = ("kafka_", "redis_", "postgres_", "vault_url", "vault_password_file", "http_")

COMMANDS = {
    "up": _Line("services.stack.up:up", "Run the whole system on this machine until Ctrl-C.", _STARTED_HERE),
    "demo": _Line("services.demo.command:demo", "Play a day through the whole system and audit it.", _STARTED_HERE),
    "allocator": _Line("services.allocator.command:allocator", "Decide commands until SIGTERM or Ctrl-C."),
    "history": _Line("services.history.command:COMMANDS", "Keep all that happened in PostgreSQL, to be asked in SQL."),
    "gateway": _Line("services.gateway.command:gateway", "Take commands over HTTP, and answer with their outcomes."),
    "board": _Line("services.board.command:board", "Serve the pages for halls, kiosks, desks, doctors and phones."),
    "notifier": _Line("services.notifier.command:COMMANDS", "Tell patients what changes about their tokens."),
    "token-for": _Line("services.gateway.command:token_for", "Print a token that a gateway takes."),
    "make-keys": _Line("services.gateway.command:make_keys", "Write a key that signs such tokens, and its JWKS."),
    "erase": _Line("services.vault.command:erase", "Destroy what is known of a patient."),
    "vault": _Line("services.vault.command:COMMANDS", "Wrap the vault's keys by another master key."),
    "topics": _Line(
        "services.snapshots.command:TOPICS", "Create the topics that are missing and check those that are there."
    ),
    "simulate": _Line("services.simulator.command:simulate", "Play a seeded day into a running system."),
    "dead-letters": _Line(
        "services.dead_letters.command:COMMANDS", "List, show and replay what was unreadable in the commands topic."
    ),
    "verify": _Line("services.auditor.command:verify", "Prove from the topics that nothing went wrong."),
    "snapshot": _Line("services.snapshots.command:snapshot", "Save partitions' state, to rebuild from."),
    "restore": _Line("services.snapshots.command:restore", "Load saved state into an empty or older Redis."),
    "rebuild": _Line("services.rebuild:rebuild", "Throw partitions' state away, to be rebuilt from the log."),
    "reset-generation": _Line("services.rebuild:reset_generation", "Let a consumer group that began anew own Redis."),
}


class _Commands(TyperGroup):
    """Shows the table above, and loads the one command that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        with _failures_in_one_line(debug="--debug" in rest):
            return name, command and _load(str(name)), rest


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Hands out the tokens of hospital outpatient departments: each decided once, in order.",
)
for _name, _line in COMMANDS.items():
    app.command(_name, help=_line.help)(lambda: None)


@app.callback()
def _opd() -> None:
    """One command alone would otherwise take the place of the group."""


def main() -> None:
    """Run `opd`."""
    app()


def _load(name: str) -> Any:
    """The real command behind a line of the table."""
    line = COMMANDS[name]
    module, _, function = line.function.partition(":")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise OpdError(
            f"opd {name} needs {error.name}, which is not installed here\ntry: pip install 'opd-token-engine[embedded]'"
        ) from error
    found = getattr(loaded, function)
    is_group = isinstance(found, Mapping)
    needs_a_name = is_group and ITSELF not in found
    alone = typer.Typer(
        help=line.help, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=needs_a_name
    )
    for each_name, each in found.items() if is_group else [(name, found)]:
        if each_name is ITSELF:
            alone.callback(invoke_without_command=True)(_alone(_with_flags(each, line.without)))
        else:
            alone.command(each_name)(_with_flags(each, line.without))
    return typer.main.get_command(alone)


def _alone(function: Callable[..., None]) -> Callable[..., None]:
    """Give the function as what a group does where none of its commands is named."""

    @wraps(function)
    def command(*, context: typer.Context, **given: Any) -> None:
        if context.invoked_subcommand is None:
            function(**given)

    signature = inspect.signature(function)
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    command.__signature__ = signature.replace(parameters=[context, *signature.parameters.values()])  # type: ignore[attr-defined] # typer reads it
    return command


def _with_flags(function: Callable[..., None], without: tuple[str, ...]) -> Callable[..., None]:
    """Give the function `--debug`, and a flag for each setting in place of its parameter `settings`."""
    from services.settings import Settings  # noqa: PLC0415 - only for the command that runs

    signature = inspect.signature(function, eval_str=True)
    parameters = [parameter for name, parameter in signature.parameters.items() if name != "settings"]
    takes_settings = len(parameters) < len(signature.parameters)
    names = [name for name in Settings.model_fields if takes_settings and not name.startswith(without)]
    flags = [_flag(name) for name in names]

    @wraps(function)
    def command(*, debug: bool, **given: Any) -> None:
        with _failures_in_one_line(debug=debug):
            if takes_settings:
                given["settings"] = _settings({name: given.pop(name) for name in names})
            function(**given)

    debug = inspect.Parameter(
        "debug",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--debug", help="Show where a failure was raised.")],
    )
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    command.__signature__ = signature.replace(parameters=[*keyword_only, *flags, debug])  # type: ignore[attr-defined] # typer reads it
    return command


def _flag(name: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    option = typer.Option(flag, help=f"Wins over OPD_{name.upper()}.", rich_help_panel="Settings")
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=Annotated[str | None, option])


def _settings(given: dict[str, str | None]) -> Any:
    """The settings from flags and environment; logs are set up by them."""
    from services import logs  # noqa: PLC0415 - only for the command that runs
    from services.settings import read_settings  # noqa: PLC0415

    settings = read_settings({name: value for name, value in given.items() if value is not None})
    logs.configure(settings)
    return settings


@contextmanager
def _failures_in_one_line(*, debug: bool) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except Exception as error:
        if isinstance(error, typer.Exit | typer.Abort | typer.BadParameter):
            raise
        if debug:
            traceback.print_exc()
        text, code = f"{type(error).__name__}: {error}\ntry: the same with --debug shows where", 1
        if isinstance(error, OpdError):
            text, code = str(error), error.exit_code
        sys.stderr.write(f"opd: {text}\n")
        raise typer.Exit(code) from error


if __name__ == "__main__":
    main()
