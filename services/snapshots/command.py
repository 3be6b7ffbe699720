"""`opd snapshot`, `opd restore` and `opd topics trim`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from allocation_core.store import NOTHING_APPLIED, Refusal
from services.partitions import ALL, PARTITION, chosen
from services.rebuild import stored_partitions
from services.redis import connect_redis
from services.settings import Settings
from services.snapshots.file import Snapshot, SnapshotError
from services.snapshots.log import PartitionLog, partition_logs
from services.snapshots.take import Taking
from services.snapshots.use import Search, SnapshotFolder, load
from services.topics import check_topics, topics

FOLDER = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the snapshots are.", file_okay=False)]


def snapshot(
    settings: Settings,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to; made if missing.", file_okay=False)],
    partition: PARTITION = None,
    every: ALL = False,
    wait_s: Annotated[float, typer.Option(min=0, help="Seconds that the last events may take to be published.")] = 30,
) -> None:
    """Save the state of partitions, each at one offset; allocators go on meanwhile."""
    asyncio.run(_snapshot(settings, out, partition, every=every, wait_s=wait_s))


def restore(settings: Settings, *, folder: FOLDER, partition: PARTITION = None, every: ALL = False) -> None:
    """Load the newest usable snapshot of partitions whose state is empty or older; allocators notice by themselves."""
    asyncio.run(_restore(settings, folder, partition, every=every))


def trim(
    settings: Settings,
    *,
    snapshot: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the snapshots are.", file_okay=False)],
    partition: PARTITION = None,
    every: ALL = False,
) -> None:
    """Delete the commands that a verified snapshot covers, for good; events are never deleted."""
    asyncio.run(_trim(settings, snapshot, partition, every=every))


TOPICS = {None: topics, "trim": trim}


async def _snapshot(
    settings: Settings, folder: Path, partition: list[int] | None, *, every: bool, wait_s: float
) -> None:
    numbers = await chosen(settings, partition, every)
    partitions = (await check_topics(settings))[0].partitions
    async with partition_logs(settings, numbers) as logs, stored_partitions(settings, numbers) as stored:
        for number in numbers:
            taking = Taking(settings, number, stored[number], logs[number], partitions)
            taken = await taking.run(folder, wait_s=wait_s)
            typer.echo(f"partition {number}: state at offset {taken.header.applied} saved to {taken.path}")


async def _restore(settings: Settings, folder: Path, partition: list[int] | None, *, every: bool) -> None:
    numbers = await chosen(settings, partition, every)
    redis = connect_redis(settings.redis_url)
    try:
        async with partition_logs(settings, numbers) as logs, stored_partitions(settings, numbers) as stored:
            for number, log in logs.items():
                marks = await stored[number].marks()
                after = NOTHING_APPLIED if marks.half_written else marks.applied
                answered = max((await log.published()).offset, await log.committed())
                found = await _newest(settings, folder, number, log, after=after, answered=answered)
                try:
                    await load(found, redis, number)
                except Refusal as refusal:
                    raise SnapshotError(
                        f"partition {number} is not restored: {refusal}\ntry: again; an allocator may be rebuilding it"
                    ) from refusal
                typer.echo(f"partition {number}: restored to offset {found.header.applied} from {found.path}")
    finally:
        await redis.aclose()


async def _trim(settings: Settings, folder: Path, partition: list[int] | None, *, every: bool) -> None:
    numbers = await chosen(settings, partition, every)
    async with partition_logs(settings, numbers) as logs:
        for number, log in logs.items():
            # Of the two marks that a rebuild may begin behind, either alone must do: a group may be deleted.
            answered = min((await log.published()).offset, await log.committed())
            found = await _newest(settings, folder, number, log, after=NOTHING_APPLIED, answered=answered)
            # The record that the snapshot ends with stays: by it a rebuild knows the log again.
            await log.delete_before(found.header.applied)
            first = (await log.bounds()).first
            typer.echo(
                f"partition {number}: the commands begin at offset {first} now; {found.path} holds what was before"
            )


async def _newest(  # noqa: PLR0913  what is looked for, and where
    settings: Settings, folder: Path, number: int, log: PartitionLog, *, after: int, answered: int
) -> Snapshot:
    snapshots = SnapshotFolder(folder, settings.commands_topic, number)
    search = await snapshots.newest_usable(log, after=after, answered=answered)
    if search.snapshot is None:
        raise SnapshotError(_nothing_usable(folder, number, search, after))
    for line in search.refused:
        typer.echo(f"partition {number}: not used: {line}", err=True)
    return search.snapshot


def _nothing_usable(folder: Path, number: int, search: Search, after: int) -> str:
    state = "" if after == NOTHING_APPLIED else f" later than offset {after}, which Redis has applied"
    lines = [f"partition {number}: no usable snapshot{state} in {folder}", *search.refused]
    return "\n  ".join(lines) + "\ntry: another folder, or opd snapshot"
