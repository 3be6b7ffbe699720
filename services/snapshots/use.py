"""Finds the newest snapshot that a partition can go on from, and loads it (`opd restore`, an owner's rebuild)."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import structlog

from allocation_core.loading import Loading
from allocation_core.store import Redis, record_digest
from services.allocator.owner import LogBounds
from services.allocator.records import CommandRecord
from services.snapshots.file import SUFFIX, Snapshot, SnapshotError

log = structlog.get_logger(__name__)


class CommandLog(Protocol):
    """One partition of the commands topic."""

    async def bounds(self) -> LogBounds:
        """Say how far the log reaches."""

    async def record_at(self, offset: int) -> CommandRecord | None:
        """Give one record; None where the log holds none at that offset."""


class Search(NamedTuple):
    """What was looked for, and why what was found would not do.

    Attributes:
        snapshot: the newest usable one, None where there is none.
        refused: a line for each newer one that was not usable.
    """

    snapshot: Snapshot | None
    refused: list[str]


class SnapshotFolder:
    """The snapshots of one partition in a folder."""

    def __init__(self, folder: Path, commands_topic: str, partition: int) -> None:
        self._folder, self._commands_topic, self._partition = folder, commands_topic, partition

    async def newest_usable(self, commands: CommandLog, *, after: int, answered: int) -> Search:
        """Find the newest snapshot that may be built upon.

        Args:
            commands: the partition's; the snapshot must be of this very log.
            after: offsets up to here are held by something else already.
            answered: the events of all commands before this offset are published, and so must be the snapshot's.
        """
        refused: list[str] = []
        for path in self._paths():
            try:
                snapshot = Snapshot(path)
                if snapshot.header.applied <= after:
                    break
                why = await self._fault(snapshot, commands, answered)
                if why is None:
                    await asyncio.to_thread(snapshot.verify)
                    return Search(snapshot, refused)
                refused.append(f"{path.name}: {why}")
            except SnapshotError as error:
                refused.append(str(error).partition("\n")[0])
        return Search(None, refused)

    def _paths(self) -> Iterator[Path]:
        """Those of the partition, the newest first."""
        paths = self._folder.glob(f"{self._commands_topic}-{self._partition}-*{SUFFIX}")
        return iter(sorted(paths, reverse=True))

    async def _fault(self, snapshot: Snapshot, commands: CommandLog, answered: int) -> str | None:
        header = snapshot.header
        if (header.commands_topic, header.partition) != (self._commands_topic, self._partition):
            return f"it is of partition {header.partition} of {header.commands_topic}"
        if header.applied >= answered:
            return f"events are published only of the commands before offset {answered}"
        bounds = await commands.bounds()
        if not bounds.first <= header.applied < bounds.end:
            return f"the log, from offset {bounds.first} to {bounds.end}, does not hold its last record"
        record = await commands.record_at(header.applied)
        if record is None or record_digest(record.key, record.value) != header.digest.encode():
            return "it is of another log: the record that it ends with is another"
        return None


async def load(snapshot: Snapshot, redis: Redis, partition: int, *, generation: int | None = None) -> None:
    """Put a snapshot in the place of a partition's state.

    Raises:
        Refusal: the state is that far already, or moved on meanwhile.
    """
    header = snapshot.header
    loading = Loading(redis, partition, offset=header.applied, generation=generation)
    await loading.load(snapshot.departments(), header.digest.encode())


class RebuildSource:
    """What an owner's rebuild begins from: the snapshots of its partition in a folder."""

    def __init__(self, folder: SnapshotFolder, redis: Redis, partition: int) -> None:
        self._folder, self._redis, self._partition = folder, redis, partition

    async def load_newest(self, commands: CommandLog, *, after: int, answered: int, generation: int) -> bool:
        """Load the newest usable snapshot for the owner of this generation; say whether there was one.

        Raises:
            Refusal: the owner is none any more, or the state is not what it believes; take the partition again.
        """
        snapshot, refused = await self._folder.newest_usable(commands, after=after, answered=answered)
        for line in refused:
            log.warning("snapshot not used", partition=self._partition, why=line)
        if snapshot is None:
            return False
        await load(snapshot, self._redis, self._partition, generation=generation)
        log.warning("rebuilding from a snapshot", partition=self._partition, applied=snapshot.header.applied)
        return True
