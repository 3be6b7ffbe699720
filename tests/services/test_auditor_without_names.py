"""Departments whose names neither Redis nor a snapshot keeps are audited like any other."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from allocation_core.digests import department_digest
from allocation_core.state import DepartmentState, state_of
from allocation_core.store import Marks, record_digest
from allocation_core.stored_state import StoredDepartment
from schemas.wire import command_key
from services.auditor.audit import audit
from services.auditor.records import Kind, Record
from services.auditor.report import Invariant
from services.snapshots.file import Header, Snapshot, write_snapshot
from tests.core.commands import make_command
from tests.services.memory import MemoryEngine

APPLIED = 5
TOKEN = "h.x.20261123.1"  # noqa: S105  a token id
FOREIGN = department_digest("h/foreign").hex()
SCHEDULE = [{"slot": "09:00-10:00", "capacity": 1}]


def a_log() -> MemoryEngine:
    """Six departments that were invented, one of which registers a doctor; two that come later than `APPLIED`."""
    engine = MemoryEngine(partitions=1)
    for name in ("a", "b", "c", "a", "d", "e", "b", "f", "g", "b", "f"):
        say(engine, "CheckIn", name, token_id=TOKEN)
    say(engine, "RegisterDoctor", "c", doctor_id="a", name="A", schedule=SCHEDULE)
    say(engine, "CheckIn", "c", token_id=TOKEN)
    return engine


def say(engine: MemoryEngine, kind: str, department: str, **data: Any) -> None:
    number = len(engine.topics[Kind.COMMANDS, 0])
    named = {"facility_id": "h", "department_id": department}
    command = make_command(kind, f"c{number}", {**named, **data})
    engine.take(command_key(command), command.model_dump_json(exclude_unset=True).encode())


def as_kept(engine: MemoryEngine) -> list[DepartmentState]:
    """What Redis keeps: of a department without a doctor, no name."""
    states = [state_of(department) for department in engine.model.departments.values()]
    return [state if state.doctors else replace(state, name=digest_of(state)) for state in states]


def digest_of(state: DepartmentState) -> str:
    return department_digest(state.name).hex()


def a_snapshot(folder: Path, log: list[Record]) -> Snapshot:
    """Of what the first records of a log led to."""
    engine = MemoryEngine(partitions=1)
    for record in log[: APPLIED + 1]:
        engine.take(record.key, record.value)
    last = log[APPLIED]
    digest = record_digest(last.key, last.value).decode()
    names = {"commands_topic": last.topic, "partition": 0, "created_at": "2026-11-23"}
    header = Header(**names, applied=APPLIED, digest=digest, committed=APPLIED + 1)
    return Snapshot(write_snapshot(folder, header, as_kept(engine)))


class Stored:
    """A Redis that has applied a whole log."""

    wait_s = 0.0

    def __init__(self, engine: MemoryEngine, states: Sequence[DepartmentState]) -> None:
        last = engine.topics[Kind.COMMANDS, 0][-1]
        self._marks = Marks(last.offset, record_digest(last.key, last.value), half_written=False)
        self._states = {department_digest(state.name): state for state in states}

    def partition(self, _number: int) -> "Stored":
        return self

    def marks(self) -> Marks:
        return self._marks

    def departments(self) -> list[str]:
        return [state.name for state in self._states.values()]

    def read(self, name: str) -> StoredDepartment:
        state = self._states.get(department_digest(name))
        found = None if state is None else replace(state, name=name)
        return StoredDepartment(self._marks, len(self._states), found, [])


@pytest.mark.parametrize("behind_a_snapshot", [False, True])
def test_what_redis_keeps_without_a_name_is_compared(behind_a_snapshot: bool, tmp_path: Path) -> None:
    engine = a_log()
    snapshots = {0: a_snapshot(tmp_path, engine.topics[Kind.COMMANDS, 0])} if behind_a_snapshot else None

    report = audit(engine, stored=Stored(engine, as_kept(engine)), snapshots=snapshots)

    assert report.holds, report.breaches
    assert report.departments == len(engine.model.departments) == 7
    assert report.commands == (13 - APPLIED - 1 if behind_a_snapshot else 13)


BREAKS: list[tuple[Callable[[DepartmentState], list[DepartmentState]], str]] = [
    (lambda state: [replace(state, sequence=9)], "is not as the model has it: sequence is 9, not"),
    (lambda _: [], "is not in Redis"),
    (lambda state: [state, DepartmentState(FOREIGN, 20_780)], "is in Redis, but no command is of it"),
]


@pytest.mark.parametrize("name", ["a", "b", "f"])  # not named behind the snapshot; named behind it; not in it
@pytest.mark.parametrize(("spoil", "text"), BREAKS, ids=["other", "missing", "one too many"])
def test_what_redis_keeps_otherwise_is_told(
    name: str, spoil: Callable[[DepartmentState], list[DepartmentState]], text: str, tmp_path: Path
) -> None:
    engine = a_log()
    spoilt = department_digest(f"h/{name}").hex()
    states = [other for state in as_kept(engine) for other in (spoil(state) if state.name == spoilt else [state])]

    for snapshots in (None, {0: a_snapshot(tmp_path, engine.topics[Kind.COMMANDS, 0])}):
        report = audit(engine, stored=Stored(engine, states), snapshots=snapshots)
        assert set(report.broken) == {Invariant.I9}
        [breach] = report.breaches[Invariant.I9]
        assert text in breach.text


def test_what_a_department_says_behind_a_snapshot_that_knows_no_name_is_held_to_what_it_said_before(
    tmp_path: Path,
) -> None:
    engine = a_log()
    events = engine.topics[Kind.EVENTS, 0]
    began_anew = (events[6].value or b"").replace(b'"sequence":"0000000000000002"', b'"sequence":"0000000000000001"')
    events[6] = events[6]._replace(value=began_anew)

    report = audit(engine, snapshots={0: a_snapshot(tmp_path, engine.topics[Kind.COMMANDS, 0])})

    assert set(report.broken) == {Invariant.I4, Invariant.I8}
