"""The audit: two independent lines of proof over the same records.

One replays the commands through the pure model and compares bytes (I3, I8); the other keeps books from commands and
events alone (I1, I2, I4-I7) and never asks the model. Partitions are audited one after the other, each in one pass, so
memory goes by what a partition remembers (R3), not by the length of its log.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

from aiokafka.partitioner import murmur2
from pydantic_core import from_json

from allocation_core.digests import department_digest
from allocation_core.model import Model
from allocation_core.state import DepartmentState, department_of, state_of
from allocation_core.store import record_digest
from schemas.commands import Command
from schemas.wire import CONTENT_TYPE, UnreadableRecord, read_command, rfc3339, write_event
from services.auditor.books import Department
from services.auditor.events import EventRecord, is_of_the_contract, read_event
from services.auditor.merge import ERROR_HEADERS, Letter, Merge, read_letter
from services.auditor.records import Kind, Log, Record
from services.auditor.report import Invariant, RecordName, Report
from services.auditor.state import StateAudit, StoredSystem
from services.snapshots.file import Snapshot, SnapshotError

Progress = Callable[[int], None]

_BATCH = 200  # commands, one kind of work for all of them before the next: measured a fifth cheaper than one by one
_OBJECTS_BETWEEN_LOOKS = 50_000, 10, 1  # at all of them after half a million new ones, so that memory stays bounded
_ATTEMPTS = 10  # a record that Redis has applied is in the log, however long Kafka takes to give it


def audit(  # noqa: PLR0913  each is a choice of whoever asks
    log: Log,
    *,
    partitions: Sequence[int] | None = None,
    limit: int = 10,
    progress: Progress | None = None,
    stored: StoredSystem | None = None,
    snapshots: Mapping[int, Snapshot] | None = None,
) -> Report:
    """Prove I1-I8 of spec §4 from a system's topics, and I9 if Redis is given.

    Args:
        log: the topics, as they stood when it was opened.
        partitions: those to audit, all if left out.
        limit: breaches shown for an invariant.
        progress: is told now and then how many more commands were audited.
        stored: what Redis keeps; it may move on meanwhile.
        snapshots: by partition, where to begin instead of at the first command.

    Raises:
        SnapshotError: a snapshot is damaged, or of another log.
    """
    partitions = range(log.partitions) if partitions is None else partitions
    report = Report(limit=limit, partitions=len(partitions))
    if stored is not None:
        report.unchecked.discard(Invariant.I9)
    with _garbage_looked_for_seldom():
        for partition in partitions:
            audited = PartitionAudit(log, partition, report)
            if snapshots and partition in snapshots:
                audited.begin_behind(snapshots[partition])
            audited.run(progress or (lambda _: None))
            if stored is not None:
                StateAudit(audited, stored.partition(partition), report).run()
            audited.close()
    return report


@contextmanager
def _garbage_looked_for_seldom() -> Iterator[None]:
    """Most of what an audit makes is kept for days of its log: to look for the rest took 19 % of its CPU, now 4 %."""
    before = gc.get_threshold()
    gc.set_threshold(*_OBJECTS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class PartitionAudit:
    """Audits one partition.

    Attributes:
        model: where the commands lead, up to `last`.
        last: the record that was replayed last.
    """

    def __init__(self, log: Log, partition: int, report: Report) -> None:
        self.model = Model()
        self.last: Record | None = None
        self._log, self._partition, self._report = log, partition, report
        self._commands = log.read(Kind.COMMANDS, partition)
        self._events = Merge(log, Kind.EVENTS, partition, read_event, report)
        self._letters = Merge(
            log, Kind.DEAD_LETTERS, partition, read_letter, report, begin=log.letters_begin(partition)
        )
        self._departments: dict[bytes, Department] = {}
        self._names: dict[bytes, tuple[str, str]] = {}  # of the model's departments, by their digests
        self._nameless: dict[bytes, DepartmentState] = {}  # of a snapshot, until a command names them

    def begin_behind(self, snapshot: Snapshot) -> None:
        """Begin where a snapshot ends; what it holds is taken for true.

        Raises:
            SnapshotError: it is damaged, or of another log.
        """
        after = snapshot.header.applied
        while (record := self._commands.next()) is not None and record.offset < after:
            pass
        if record is None or record_digest(record.key, record.value) != snapshot.header.digest.encode():
            raise SnapshotError(f"{snapshot.path.name}: it is of another log\ntry: another folder")
        self.last = record
        for state in snapshot.departments():
            if "/" in state.name:
                self._resume(state, record)
            else:
                self._nameless[department_digest(state.name)] = state
        self._events.skip(after)
        self._letters.skip(after)
        self._report.began_behind[self._partition] = after

    def run(self, progress: Progress) -> None:
        """Audit the partition from the first command to the last that stood there when the log was opened."""
        audited = 0 if self.last is None else self.last.offset + 1
        while records := list(islice(iter(self._commands.next, None), _BATCH)):
            self._audit(records)
            self.last, audited = records[-1], records[-1].offset + 1
            progress(len(records))
        self._events.finish(audited)
        self._letters.finish(audited)
        self._report.departments += len(self._departments) + len(self._nameless)

    def replay_to(self, offset: int) -> Record | None:
        """Lead the model on to an offset behind those audited; give the record there, None where there is none."""
        attempts = _ATTEMPTS
        while (self.last is None or self.last.offset < offset) and attempts:
            record = self._commands.next(wait=True)
            if record is None:
                attempts -= 1
                continue
            self.last, attempts = record, _ATTEMPTS
            with suppress(UnreadableRecord):
                self.model.decide(self._read(record), record.timestamp_ms)
        return self.last if self.last is not None and self.last.offset == offset else None

    def departments(self) -> list[str]:
        """Name the departments, one whose name is not known by its digest."""
        return [*("/".join(key) for key in self.model.departments), *map(bytes.hex, self._nameless)]

    def department(self, name: str) -> DepartmentState | None:
        """Give the state that a department is in, under the name that it is asked by, None where there is none."""
        if len(self._names) < len(self.model.departments):
            unknown = islice(self.model.departments, len(self._names), None)
            self._names |= {department_digest("/".join(key)): key for key in unknown}
        digest = department_digest(name)
        if digest in self._names:
            return replace(state_of(self.model.departments[self._names[digest]]), name=name)
        return self._nameless.get(digest)

    def close(self) -> None:
        """Read no more."""
        self._commands.close()

    def _audit(self, records: Sequence[Record]) -> None:
        """Audit a batch of the commands topic: read, replay, compare with the answers, enter into the books."""
        commands = [self._readable(record) for record in records]
        expected = [
            [] if command is None else self._replay(record, command)
            for record, command in zip(records, commands, strict=True)
        ]
        legible = [
            self._audit_answers(record, command, events)
            for record, command, events in zip(records, commands, expected, strict=True)
        ]
        for record, command, events in zip(records, commands, legible, strict=True):
            if command is not None:
                self._department(record.key or b"").enter(record, command, events)

    def _readable(self, record: Record) -> Command | None:
        self._report.commands += 1
        try:
            return self._read(record)
        except UnreadableRecord:
            self._report.unreadable += 1
            return None

    def _department(self, key: bytes) -> Department:
        department = self._departments.get(key)
        if department is None:
            department = self._departments[key] = Department(self._report)
        return department

    def _read(self, record: Record) -> Command:
        command = read_command(record.key, record.value, record.timestamp_ms)
        if record.key is None or _partition_of(record.key, self._log.partitions) != self._partition:
            raise UnreadableRecord("not in its key's partition")
        if self._nameless and (state := self._nameless.pop(department_digest(record.key.decode()), None)):
            self._resume(replace(state, name=record.key.decode()), record)
        return command

    def _resume(self, state: DepartmentState, record: Record) -> None:
        """Go on with a department as a snapshot has it; `record` is shown for what was decided before."""
        facility_id, _, department_id = state.name.partition("/")
        self.model.departments[facility_id, department_id] = department_of(state)
        self._departments[state.name.encode()] = Department.resumed(self._report, state, record)

    def _audit_answers(self, record: Record, command: Command | None, expected: list[bytes]) -> list[EventRecord]:
        """Audit what stands in the other topics; give the events that the books can be kept from."""
        if command is None:
            self._audit_unreadable(record)
            return []
        events = self._events.take(record.offset, len(expected))
        self._check_one_decision(record, events)
        legible = self._compare(record, expected, events)
        for letter in self._letters.take(record.offset, 0):
            self._breach(Invariant.I3, "a readable command in the dead letters", record, letter)
        return legible

    def _audit_unreadable(self, record: Record) -> None:
        letters = self._letters.take(record.offset, 1)
        if not letters and self._letters.may_have_lost(record.offset):
            self._report.expired += 1
        elif not letters:
            self._breach(Invariant.I3, "an unreadable record without a dead letter", record)
        for letter in letters:
            self._check_letter(record, letter)
        for event in self._events.take(record.offset, 0):
            self._breach(Invariant.I3, "an unreadable record was decided (R1)", record, event)

    def _check_one_decision(self, record: Record, events: list[EventRecord]) -> None:
        if not events:
            self._breach(Invariant.I3, "a command without a decision", record)
        elif [event.place[1] for event in events] != list(range(len(events))):
            self._breach(Invariant.I3, "the events of a command are not numbered from 0 without gaps", record, *events)

    # I8: the model's events, to the byte.

    def _replay(self, record: Record, command: Command) -> list[bytes]:
        time = rfc3339(record.timestamp_ms)
        return [
            write_event(
                event_id=f"{self._partition}-{record.offset}-{n}",
                event_type=event.type,
                time=time,
                sequence=event.sequence,
                command=command,
                data=event.data,
            )
            for n, event in enumerate(self.model.decide(command, record.timestamp_ms))
        ]

    def _compare(self, record: Record, expected: list[bytes], events: list[EventRecord]) -> list[EventRecord]:
        """Compare the events with the model's; give those that the books can be kept from."""
        legible = []
        if len(expected) != len(events):
            text = f"{len(events)} events where the model has {len(expected)}"
            self._breach(Invariant.I8, text, record, *events)
        for event in events:
            n = event.place[1]
            self._report.events_by_type[event.type] += 1
            if n < len(expected) and event.record.value == expected[n]:
                legible.append(event)
            else:
                self._refuse(record, event, expected[n] if n < len(expected) else None)
                if is_of_the_contract(event):
                    legible.append(event)
            if event.record.key != record.key:
                self._breach(Invariant.I8, "another key than the command's", record, event)
            if event.record.headers != (CONTENT_TYPE,):
                self._breach(Invariant.I8, "other headers than the content type", record, event)
        return legible

    def _refuse(self, record: Record, event: EventRecord, expected: bytes | None) -> None:
        if expected is None:
            text = "an event that the model has not"
        else:
            text = f"other bytes than the model's: {_difference(event.record.value, expected)}"
        self._breach(Invariant.I8, text, record, event)

    # R1: what a dead letter must keep.

    def _check_letter(self, record: Record, letter: Letter) -> None:
        headers, kept = letter.record.headers, len(record.headers)
        added = dict(headers[kept:])
        wrong = {
            "its value": letter.record.value != record.value,
            "its key": letter.record.key != record.key,
            "its headers": headers[:kept] != record.headers,
            "the headers appended": len(headers) != kept + 4 or added.keys() != ERROR_HEADERS or not added["opd-error"],
            "the topic named": added.get("opd-source-topic") != record.topic.encode(),
        }
        if any(wrong.values()):
            text = (
                f"a dead letter that is not as R1 has it: {', '.join(what for what, is_so in wrong.items() if is_so)}"
            )
            self._breach(Invariant.I3, text, record, letter)

    def _breach(self, invariant: Invariant, text: str, record: Record, *answers: EventRecord | Letter) -> None:
        names = [RecordName.of(answer.record, answer.event_id) for answer in answers]
        self._report.breach(invariant, text, *names, RecordName.of(record))


@lru_cache(maxsize=65_536)
def _partition_of(key: bytes, partitions: int) -> int:
    """Kafka's default partitioner."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def _difference(actual: bytes | None, expected: bytes) -> str:
    """Say which fields differ, in names alone: the values may name a patient."""
    try:
        found, wanted = from_json(actual or b""), from_json(expected)
    except ValueError:
        return "not JSON"
    if not isinstance(found, dict):
        return "no object"
    names = _differing(found, wanted)
    if isinstance(found.get("data"), dict):
        names = [name for name in names if name != "data"]
        names += [f"data.{name}" for name in _differing(found["data"], wanted["data"])]
    return ", ".join(names) or "the same fields, written otherwise"


def _differing(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    return [name for name, value in wanted.items() if name not in found or found[name] != value] + [
        "one too many" for name in found if name not in wanted
    ]
