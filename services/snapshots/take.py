"""Saves the state of a partition at one offset while its owner goes on (`opd snapshot`).

Departments are read one by one, each at an offset of its own, while the owner works. What the later ones were read
after, the earlier ones are led on to by the model, from the commands that the log holds between: so the file is of one
offset, and nobody was held up for it.
"""

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

from allocation_core.digests import department_digest
from allocation_core.state import DepartmentState, department_of, read_state, state_of, write_state
from allocation_core.store import NOTHING_APPLIED, Marks, record_digest
from allocation_core.stored_state import StoredPartition
from schemas.commands import Command
from schemas.wire import command_key
from services.allocator.kafka import partitioner
from services.allocator.records import read_record
from services.settings import Settings
from services.snapshots.file import Header, Snapshot, SnapshotError, write_snapshot
from services.snapshots.log import PartitionLog

ATTEMPTS = 5
ASK_AGAIN_AFTER_S = 0.1


class _Moved(Exception):  # noqa: N818  nothing is wrong with that
    """Redis went back while it was read: it was flushed, cleared or loaded."""


class _Later(NamedTuple):
    """A command that may have come after its department was read."""

    offset: int
    timestamp_ms: int
    command: Command


class _Spooled(NamedTuple):
    """What was read of a partition.

    Attributes:
        first: the offset before which nothing was read.
        marks: as of the last department.
        departments: how many there were by then, None where none was read.
        digests: of the names of those that were read.
    """

    first: int
    marks: Marks
    departments: int | None
    digests: set[bytes]


class Taking:
    """Takes one snapshot of a partition."""

    def __init__(
        self, settings: Settings, partition: int, stored: StoredPartition, log: PartitionLog, partitions: int
    ) -> None:
        """Take it of what is stored; `partitions` is how many the topic has."""
        self._settings, self._partition = settings, partition
        self._stored, self._log = stored, log
        self._partition_of = partitioner(partitions)

    async def run(self, folder: Path, *, wait_s: float) -> Snapshot:
        """Save the state in a folder.

        Args:
            folder: made where it is missing.
            wait_s: how long the events of the snapshot's last command may take to be published.

        Raises:
            SnapshotError: there is no state, it cannot be read, or its events are not published in time.
        """
        for _ in range(ATTEMPTS):
            with tempfile.TemporaryFile() as spool:
                try:
                    return await self._run(spool, folder, wait_s)
                except _Moved:
                    await asyncio.sleep(ASK_AGAIN_AFTER_S)
        raise self._error("Redis lost its state while it was read", "again, when it is rebuilt")

    async def _run(self, spool: IO[bytes], folder: Path, wait_s: float) -> Snapshot:
        spooled = await self._spool(spool)
        await self._refuse_another_log(spooled.marks)
        later = await self._later_commands(spooled.first, spooled.marks.applied)
        if spooled.departments is not None and spooled.departments != len(spooled.digests | later.keys()):
            raise _Moved
        header = Header(
            commands_topic=self._settings.commands_topic,
            partition=self._partition,
            applied=spooled.marks.applied,
            digest=spooled.marks.digest.decode(),
            committed=await self._committed_behind(spooled.marks.applied, wait_s),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return Snapshot(write_snapshot(folder, header, _led_on(spool, later)))

    async def _spool(self, spool: IO[bytes]) -> _Spooled:
        """Read each department and keep it aside, with the offset that it was read at."""
        marks = await self._stored.marks()
        if marks.half_written:
            raise _Moved
        if marks.applied == NOTHING_APPLIED:
            raise self._error("Redis holds no state of it", "again, when commands were decided")
        first, departments = marks.applied, None
        digests = set()
        async for name in self._stored.departments():
            read = await self._stored.read(name)
            if read.state is None or read.marks.half_written or read.marks.applied < marks.applied:
                raise _Moved
            marks, departments = read.marks, read.departments
            digests.add(department_digest(name))
            spool.write(b"%d %b\n" % (marks.applied, write_state(read.state)))
        return _Spooled(first, marks, departments, digests)

    async def _refuse_another_log(self, marks: Marks) -> None:
        record = await self._log.record_at(marks.applied)
        if record is None or record_digest(record.key, record.value) != marks.digest:
            raise self._error("Redis belongs to another log", "other settings of Redis or the topics")

    async def _later_commands(self, after: int, up_to: int) -> dict[bytes, list[_Later]]:
        """The commands from when the first department was read to when the last one was, by their names' digests."""
        later: defaultdict[bytes, list[_Later]] = defaultdict(list)
        async for record in self._log.records(after, up_to):
            command = read_record(record, self._partition, self._partition_of)
            if not isinstance(command, str):
                later[department_digest(_name_in(command))].append(_Later(record.offset, record.timestamp, command))
        return later

    async def _committed_behind(self, applied: int, wait_s: float) -> int:
        """Wait until everything that the snapshot holds was said, so that a rebuild may begin behind it."""
        deadline = time.monotonic() + wait_s
        while (committed := await self._log.committed()) <= applied:
            if time.monotonic() > deadline:
                text = (
                    f"the group {self._settings.consumer_group} has committed {committed}, but Redis applied {applied}"
                )
                raise self._error(text, "again, when an allocator runs and has published its events")
            await asyncio.sleep(ASK_AGAIN_AFTER_S)
        return committed

    def _error(self, what: str, hint: str) -> SnapshotError:
        return SnapshotError(f"no snapshot of partition {self._partition}: {what}\ntry: {hint}")


def _led_on(spool: IO[bytes], later: Mapping[bytes, list[_Later]]) -> Iterator[DepartmentState]:
    """Give each department as it is behind the last of the later commands."""
    unseen = dict(later)
    spool.seek(0)
    for line in spool:
        applied, _, written = line.partition(b" ")
        state = read_state(written)
        missed = [each for each in unseen.pop(department_digest(state.name), ()) if each.offset > int(applied)]
        yield _decide(state, missed) if missed else state
    for commands in unseen.values():
        yield _decide(DepartmentState(""), commands)


def _decide(state: DepartmentState, commands: Sequence[_Later]) -> DepartmentState:
    department = department_of(replace(state, name=_name_in(commands[0].command)))
    for each in commands:
        department.decide(each.command, each.timestamp_ms)
    return state_of(department)


def _name_in(command: Command) -> str:
    return command_key(command).decode()
