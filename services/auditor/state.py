"""I9: what Redis keeps of a partition is what its commands lead to, compared while both go on.

A department is read from Redis in one call, together with the applied offset; the model is led on to that very offset,
and the two are compared. So each department is compared at an offset of its own, which is enough: no department
depends on another.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from allocation_core.digests import department_digest
from allocation_core.state import DepartmentState, differences
from allocation_core.store import NOTHING_APPLIED, Marks, record_digest
from allocation_core.stored_state import StoredDepartment
from services.auditor.records import Record
from services.auditor.report import Invariant, RecordName, Report

_SHOWN = 5
_ASK_AGAIN_AFTER_S = 0.1


class ReplayedPartition(Protocol):
    """The commands of a partition, replayed through the model."""

    @property
    def last(self) -> Record | None:
        """The record that was replayed last."""

    def department(self, name: str) -> DepartmentState | None:
        """Give the state that a department is in, under the name that it is asked by, None where there is none."""

    def departments(self) -> Sequence[str]:
        """Name the departments, one whose name is not known by its digest."""

    def replay_to(self, offset: int) -> Record | None:
        """Lead the model on to an offset; give the record there, None where there is none."""


class StoredPartition(Protocol):
    """What Redis keeps of one partition.

    Attributes:
        wait_s: how long it may take Redis to get where the audited commands end.
    """

    wait_s: float

    def marks(self) -> Marks:
        """Read where the partition stands."""

    def departments(self) -> Sequence[str]:
        """Name the departments."""

    def read(self, name: str) -> StoredDepartment:
        """Read a department and what follows from its state, in one call."""


class StoredSystem(Protocol):
    """What Redis keeps."""

    def partition(self, number: int) -> StoredPartition:
        """Give one partition of it."""


class StateAudit:
    """Compares one partition."""

    def __init__(self, replayed: ReplayedPartition, stored: StoredPartition, report: Report) -> None:
        self._replayed, self._stored, self._report = replayed, stored, report

    def run(self) -> None:
        """Compare every department that either side knows, unless Redis is not where it could be compared."""
        if not self._is_there():
            return
        compared: set[bytes] = set()
        for name in self._names():
            digest = department_digest(name)
            if digest not in compared:
                compared.add(digest)
                if not self._compare(name):
                    return

    def _names(self) -> Iterator[str]:
        # The model's first, which are no digests: under its name a department is found wherever it moves meanwhile.
        yield from self._replayed.departments()
        yield from self._stored.departments()
        yield from self._replayed.departments()

    def _is_there(self) -> bool:
        """Wait until Redis has applied what was audited; say whether it has, and of this log."""
        marks = self._stored.marks()
        deadline = time.monotonic() + self._stored.wait_s
        while self._is_behind(marks) and time.monotonic() < deadline:
            time.sleep(_ASK_AGAIN_AFTER_S)
            marks = self._stored.marks()
        return self._agrees(marks)

    def _is_behind(self, marks: Marks) -> bool:
        last = self._replayed.last
        return marks.half_written or (last is not None and marks.applied < last.offset)

    def _agrees(self, marks: Marks) -> bool:
        """Lead the model on to where Redis is; say whether the log and Redis agree on what stands there."""
        if self._is_behind(marks):
            where = "is half written" if marks.half_written else f"has applied offset {marks.applied} and no further"
            self._breach(f"Redis {where}, so it cannot be compared")
            return False
        if marks.applied == NOTHING_APPLIED:
            return True
        record = self._replayed.replay_to(marks.applied)
        if record is None:
            self._breach(f"Redis has applied offset {marks.applied}, where the log holds no record")
            return False
        if record_digest(record.key, record.value) != marks.digest:
            self._breach("Redis has applied another record than the log holds there: it belongs to another log")
            return False
        return True

    def _compare(self, name: str) -> bool:
        """Compare one department; false where Redis cannot be compared any more."""
        stored = self._stored.read(name)
        if self._is_behind(stored.marks):
            # Redis lost what it had: it is waited for, and read again.
            return self._is_there() and self._compare(name)
        if not self._agrees(stored.marks):
            return False
        expected = self._replayed.department(name)
        for text in self._faults(expected, stored):
            self._breach(f"department {name}: {text}")
        return True

    @staticmethod
    def _faults(expected: DepartmentState | None, stored: StoredDepartment) -> Iterator[str]:
        if expected is not None and stored.state is not None:
            yield from _summed_up("is not as the model has it", differences(expected, stored.state))
            yield from _summed_up("contradicts itself", stored.faults)
        elif expected is not None:
            yield "is not in Redis"
        elif stored.state is not None:
            yield "is in Redis, but no command is of it"

    def _breach(self, text: str) -> None:
        last = self._replayed.last
        self._report.breach(Invariant.I9, text, *([] if last is None else [RecordName.of(last)]))


def _summed_up(what: str, found: Iterable[str]) -> Iterator[str]:
    """One text for all that was found, if anything was."""
    first = list(islice(found := iter(found), _SHOWN))
    more = sum(1 for _ in found)
    if first:
        yield f"{what}: {'; '.join(first)}{f'; and {more} more' if more else ''}"
