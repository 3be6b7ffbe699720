"""`opd rebuild` and `opd reset-generation`: what an operator may do to a partition's state on purpose."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import typer
from redis.exceptions import RedisError

from allocation_core.store import NOTHING_APPLIED, OtherVersion
from allocation_core.stored_state import StoredPartition
from services.errors import OpdError
from services.partitions import ALL, PARTITION, chosen
from services.redis import connect_redis
from services.settings import Settings
from services.snapshots.log import PartitionLog, partition_logs
from services.snapshots.use import SnapshotFolder


class StateError(OpdError):
    """What was asked for cannot be done to this state: why, and what to do."""


def rebuild(settings: Settings, *, partition: PARTITION = None, every: ALL = False) -> None:
    """Throw the state of partitions away on purpose, to be rebuilt from the log; safe while allocators run."""
    asyncio.run(_rebuild(settings, partition, every=every))


def reset_generation(settings: Settings, *, partition: PARTITION = None, every: ALL = False) -> None:
    """Forget which generation of the consumer group owns partitions, once the group's count began anew.

    Only for when an allocator asks for it, and no allocator of another group works on this Redis.
    """
    asyncio.run(_reset_generation(settings, partition, every=every))


async def _rebuild(settings: Settings, partition: list[int] | None, *, every: bool) -> None:
    numbers = await chosen(settings, partition, every)
    async with partition_logs(settings, numbers) as logs:
        for number, commands in logs.items():
            await _refuse_what_cannot_be_rebuilt(settings, number, commands)
    async with stored_partitions(settings, numbers) as stored:
        for number, one in stored.items():
            applied = await one.mark_for_rebuild()
            if applied is None:
                typer.echo(f"partition {number}: Redis holds nothing; an allocator builds it without being told")
            else:
                typer.echo(
                    f"partition {number}: the state up to offset {applied} will be thrown away and rebuilt by the "
                    f"partition's allocator, within seconds if one runs; see opd_rebuild_remaining_records"
                )


async def _reset_generation(settings: Settings, partition: list[int] | None, *, every: bool) -> None:
    async with stored_partitions(settings, await chosen(settings, partition, every)) as stored:
        for number, one in stored.items():
            found = await one.forget_generation()
            what = "no generation was stored" if found is None else "the next allocator that takes it owns it"
            typer.echo(f"partition {number}: {what}")


async def _refuse_what_cannot_be_rebuilt(settings: Settings, number: int, commands: PartitionLog) -> None:
    first = (await commands.bounds()).first
    if first == 0:
        return
    why = "OPD_SNAPSHOT_FOLDER names no folder with snapshots"
    if settings.snapshot_folder is not None:
        answered = max((await commands.published()).offset, await commands.committed())
        folder = SnapshotFolder(settings.snapshot_folder, settings.commands_topic, number)
        search = await folder.newest_usable(commands, after=NOTHING_APPLIED, answered=answered)
        if search.snapshot is not None:
            return
        why = "; ".join(search.refused) or f"there is no snapshot of it in {settings.snapshot_folder}"
    raise StateError(
        f"partition {number} cannot be rebuilt: {settings.commands_topic} begins at offset {first} there, and {why}\n"
        f"try: OPD_SNAPSHOT_FOLDER, here and for the allocators, with a snapshot of offset {first} or later"
    )


@asynccontextmanager
async def stored_partitions(settings: Settings, numbers: list[int]) -> AsyncIterator[dict[int, StoredPartition]]:
    """Give what Redis keeps of partitions; its failures become StateErrors."""
    redis = connect_redis(settings.redis_url)
    try:
        yield {number: StoredPartition(redis, number) for number in numbers}
    except RedisError as error:
        text = f"Redis failed: {type(error).__name__} {error}\ntry: look whether OPD_REDIS_URL names one that runs"
        raise StateError(text) from error
    except OtherVersion as error:
        raise StateError(
            f"this Redis is of another version: {error}\ntry: that version's opd; or, to go over to this version, stop "
            f"all allocators, empty this Redis (redis-cli FLUSHDB) and start this version's: they rebuild it"
        ) from error
    finally:
        await redis.aclose()
