"""`opd dead-letters list|show|replay`."""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from schemas.wire import rfc3339
from services.dead_letters.letters import DeadLetters, Letter, Place, Verdict, printable
from services.settings import Settings

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Partition = Annotated[int | None, typer.Option(min=0, help="Only those of this partition.")]
Since = Annotated[str | None, typer.Option(help="Only later ones: 90s, 30m, 2h, 7d ago, or a time such as 2026-11-23.")]


def list_letters(
    settings: Settings, *, partition: Partition = None, since: Since = None, as_json: Json = False
) -> None:
    """Say which records were unreadable, and why; never what stood in them."""
    asyncio.run(_list(settings, partition, _since_ms(since), as_json=as_json))


async def _list(settings: Settings, partition: int | None, since_ms: int, *, as_json: bool) -> None:
    described = []
    async with DeadLetters(settings) as letters:
        async for letter in letters.read(partition=partition, since_ms=since_ms):
            described.append(_described(letter))
            if not as_json:
                typer.echo(_line(letter))
    if as_json:
        typer.echo(json.dumps({"dead_letters": described}))
    else:
        typer.echo(f"{len(described):,} dead letters")


def show(
    settings: Settings,
    place: Annotated[str, typer.Argument(help="As `list` names it, e.g. 0-12.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Show key, value and headers: they may name a patient.")] = False,
    as_json: Json = False,
) -> None:
    """Say all about one dead letter; what stands in it only if asked for."""
    letter, verdict = asyncio.run(_read_one(settings, _place(place)))
    if raw:
        sys.stderr.write("warning: what follows is what the sender wrote; it may name a patient\n")
    told = _described(letter)
    told["today"] = {"command": verdict.command, "fault": verdict.fault, "partition": verdict.partition}
    if raw:
        told["raw"] = {
            "key": _content(letter.key),
            "value": _content(letter.value),
            "headers": [[name, _content(value)] for name, value in letter.headers],
        }
    if as_json:
        typer.echo(json.dumps(told))
    else:
        _print_letter(letter, verdict, raw=raw)


async def _read_one(settings: Settings, place: Place) -> tuple[Letter, Verdict]:
    async with DeadLetters(settings) as letters:
        letter = await letters.at(place)
        return letter, letters.judge(letter)


def _print_letter(letter: Letter, verdict: Verdict, *, raw: bool) -> None:
    today = f"it is a {verdict.command}" if verdict.command else f"still unreadable: {verdict.fault}"
    lines = {
        "place": str(letter.place),
        "since": rfc3339(letter.timestamp_ms),
        "from": letter.source,
        "error": letter.error,
        "today": f"{today}; its partition would be {verdict.partition}",
        "key": _shown(letter.key, raw=raw),
        "value": _shown(letter.value, raw=raw),
        "headers": str(len(letter.headers)),
    }
    for name, text in lines.items():
        typer.echo(f"{name + ':':<8} {text}")
    for name, value in letter.headers if raw else ():
        typer.echo(f"  {printable(name)}: {_shown(value, raw=raw)}")


def replay(  # noqa: PLR0913  each is an option
    settings: Settings,
    places: Annotated[list[str] | None, typer.Argument(help="As `list` names them, e.g. 0-12 3-7.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that --partition and --since select.")] = False,
    partition: Partition = None,
    since: Since = None,
    force: Annotated[bool, typer.Option("--force", help="Also what will only become a dead letter again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Send dead letters to the commands topic again, as they were sent first; exit 1 if one was refused.

    A command keeps its id: one that was decided meanwhile, or is replayed twice, is answered DUPLICATE_COMMAND (R2).
    """
    if bool(places) == everything:
        raise typer.BadParameter("name dead letters (see opd dead-letters list), or give --all")
    if places and (partition is not None or since is not None):
        raise typer.BadParameter("--partition and --since go with --all")
    chosen = [_place(place) for place in places or ()]
    done = asyncio.run(_replay(settings, chosen, partition, _since_ms(since), force=force, dry_run=dry_run))
    refused = sum(not each["replayed"] for each in done)
    if as_json:
        typer.echo(json.dumps({"replayed": len(done) - refused, "refused": refused, "letters": done}))
    else:
        typer.echo(_summary(done, refused, dry_run=dry_run))
    if refused:
        raise typer.Exit(1)


async def _replay(  # noqa: PLR0913  what was asked for
    settings: Settings, chosen: Sequence[Place], partition: int | None, since_ms: int, *, force: bool, dry_run: bool
) -> list[dict[str, Any]]:
    done = []
    async with DeadLetters(settings) as letters:
        async for letter in _chosen(letters, chosen, partition, since_ms):
            verdict = letters.judge(letter)
            goes = force or verdict.command is not None
            if goes and not dry_run:
                await letters.replay(letter, verdict.partition)
            target = f"{settings.commands_topic}[{verdict.partition}]"
            done.append(_done(letter, verdict, target, goes=goes))
            sys.stderr.write(_progress(done[-1], dry_run=dry_run) + "\n")
    return done


async def _chosen(
    letters: DeadLetters, chosen: Sequence[Place], partition: int | None, since_ms: int
) -> AsyncIterator[Letter]:
    if chosen:
        for letter in [await letters.at(place) for place in chosen]:  # all there are there, before the first is sent
            yield letter
    else:
        async for letter in letters.read(partition=partition, since_ms=since_ms):
            yield letter


def _done(letter: Letter, verdict: Verdict, target: str, *, goes: bool) -> dict[str, Any]:
    place = {"place": str(letter.place), "replayed": goes}
    return place | {"to": target if goes else None, "command": verdict.command, "fault": verdict.fault}


def _progress(done: Mapping[str, Any], *, dry_run: bool) -> str:
    if not done["replayed"]:
        return f"{done['place']}: refused, it is still unreadable: {done['fault']}"
    what = done["command"] or f"still unreadable: {done['fault']}"
    return f"{done['place']}: {'would go' if dry_run else 'sent'} to {done['to']} ({what})"


def _summary(done: Sequence[Mapping[str, Any]], refused: int, *, dry_run: bool) -> str:
    lines = [f"{len(done) - refused:,} {'would be replayed' if dry_run else 'replayed'}, {refused:,} refused"]
    if any(each["replayed"] and each["command"] for each in done):
        lines.append("A command keeps its id: one that was decided before is answered DUPLICATE_COMMAND (R2).")
    if refused:
        lines.append("--force sends the refused ones too; they become dead letters again.")
    return "\n".join(lines)


def _line(letter: Letter) -> str:
    return f"{letter.place}  {rfc3339(letter.timestamp_ms)}  {letter.source}  {letter.size} bytes  {letter.error}"


def _described(letter: Letter) -> dict[str, Any]:
    return {
        "place": str(letter.place),
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "time": rfc3339(letter.timestamp_ms),
        "source": letter.source,
        "error": letter.error,
        "key_bytes": _length(letter.key),
        "value_bytes": _length(letter.value),
        "headers": len(letter.headers),
    }


def _length(value: bytes | None) -> int | None:
    return None if value is None else len(value)


def _content(value: bytes | None) -> dict[str, str] | None:
    if value is None:
        return None
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"hex": value.hex()}


def _shown(value: bytes | None, *, raw: bool) -> str:
    if value is None:
        return "none"
    if not raw:
        return f"{len(value)} bytes"
    [(form, text)] = (_content(value) or {}).items()
    return f"{len(value)} bytes, as {form}: {printable(text)}"


def _place(text: str) -> Place:
    found = re.fullmatch(r"(\d{1,9})-(\d{1,18})", text, re.ASCII)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no place: opd dead-letters list gives them, e.g. 0-12")
    return Place(int(found[1]), int(found[2]))


def _since_ms(text: str | None) -> int:
    if text is None:
        return 0
    if ago := re.fullmatch(r"(\d{1,9})([smhd])", text, re.ASCII):
        return int(time.time() * 1000) - int(ago[1]) * _UNITS_MS[ago[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"--since {text!r}: give 90s, 30m, 2h, 7d, or a time such as 2026-11-23") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


COMMANDS = {"list": list_letters, "show": show, "replay": replay}
