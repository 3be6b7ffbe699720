"""What the slot store answers: outcomes, packed to what only it knows, and the events they stand for.

`lua/includes/said.lua` describes how they are packed. An event is its kind, a few figures and a few words (`_KINDS`);
kind 0 is no event: it names the pool of what follows where the command does not.

An event's data are written at once, as they will stand in the record. The pure model makes dictionaries of the same,
and `tests/core/test_twins.py` compares the two to the byte.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from json.encoder import encode_basestring as quoted
from struct import Struct, unpack_from
from typing import Any, TypeAlias

from allocation_core.calendar import date_of_day, token_id
from schemas.events import WrittenEvent
from schemas.plain import AnyCommand
from schemas.words import Source, Status

_SOURCES = {number: source.value for number, source in enumerate(Source, start=1)}
_STATUSES = {number: status.value for number, status in enumerate(Status, start=1)}
_SAID_OF_STATUS = {
    "WAITLISTED": "TokenCheckedIn",
    "CHECKED_IN": "TokenCheckedIn",
    "CALLED": "TokenCalled",
    "COMPLETED": "TokenCompleted",
    "CANCELLED": "TokenCancelled",
    "NO_SHOW": "TokenNoShow",
}

_Pool: TypeAlias = tuple[str, str] | None  # date and slot; None: those that the command names
_Figure: TypeAlias = Callable[[], int]  # each gives the next one
_Word: TypeAlias = Callable[[], str]

_HEAD = Struct(">III")  # how many departments, commands and figures
_DEPARTMENT = Struct(">qI")  # the sequence of its first event, how many commands


class Outcomes(Mapping[int, list[WrittenEvent]]):
    """A batch's outcomes: the events of each command by its offset, made when they are first asked for.

    A rebuild never asks: what it decides was said long ago.
    """

    def __init__(self, packed: bytes, commands: Mapping[int, AnyCommand]) -> None:
        """Take what the script `decide_batch` gave; outcomes of commands that are not among these are passed over."""
        self._packed = packed
        self._commands = commands

    @cached_property
    def _events(self) -> dict[int, list[WrittenEvent]]:
        return dict(_read(self._packed, self._commands))

    def __getitem__(self, offset: int) -> list[WrittenEvent]:
        return self._events[offset]

    def get(self, offset: int, default: Any = None) -> Any:
        """As any mapping's, without the way through `__getitem__` and an exception."""
        return self._events.get(offset, default)

    def __iter__(self) -> Iterator[int]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)


def _read(packed: bytes, commands: Mapping[int, AnyCommand]) -> Iterator[tuple[int, list[WrittenEvent]]]:
    departments, rows, size = _HEAD.unpack_from(packed)
    at = _HEAD.size + departments * _DEPARTMENT.size
    offsets = unpack_from(f">{rows}q", packed, at)
    counts = unpack_from(f">{rows}I", packed, at + 8 * rows)
    figure = iter(unpack_from(f">{size}q", packed, at + 12 * rows)).__next__
    word = iter(packed[at + 12 * rows + 8 * size :].decode().split("\0")).__next__
    answers = zip(offsets, counts, strict=True)
    for first_sequence, own in _DEPARTMENT.iter_unpack(packed[_HEAD.size : at]):
        sequence = first_sequence
        for offset, count in islice(answers, own):
            command = commands.get(offset)
            pool: _Pool = None
            events: list[WrittenEvent] = []
            for n in range(sequence, sequence + count):
                kind = figure()
                if kind == _NAMES_A_POOL:
                    pool = date_of_day(figure()), word()
                    kind = figure()
                figures, words, write = _KINDS[kind]
                if command is not None:
                    events.append(write(command, n, pool, figure, word))
                else:
                    _pass_over(figures, figure, words, word)
            sequence += count
            if command is not None:
                yield offset, events


def _pass_over(figures: int, figure: _Figure, words: int, word: _Word) -> None:
    for _ in range(figures):
        figure()
    for _ in range(words):
        word()


def _token(  # noqa: PLR0913, PLR0917  a token event has that many fields
    command: Any, pool: _Pool, no: int, patient_id: str, source: str, status: str, doctor_id: str, further: str = ""
) -> tuple[str, str]:
    """Give a token event's token_id and data; `further` is what its type has besides, each with a comma before it."""
    data = command.data
    facility_id, department_id = data.facility_id, data.department_id
    date, slot = pool or (data.date, data.slot)
    named = token_id(facility_id, department_id, date, no)
    doctor = f'"{doctor_id}"' if doctor_id else "null"
    return named, (
        f'{{"facility_id":"{facility_id}","department_id":"{department_id}","date":"{date}","slot":"{slot}",'
        f'"token_id":"{named}","token_no":{no},"patient_id":{quoted(patient_id)},"source":"{source}",'
        f'"status":"{status}","doctor_id":{doctor}{further}}}'
    )


def _session(command: Any, pool: _Pool) -> str:
    """Give what the data of an event begin with that is of one doctor's session."""
    data = command.data
    date, slot = pool or (data.date, data.slot)
    return f'{_department(command)},"doctor_id":"{data.doctor_id}","date":"{date}","slot":"{slot}"'


def _department(command: AnyCommand) -> str:
    """Give what all data begin with."""
    return f'{{"facility_id":"{command.data.facility_id}","department_id":"{command.data.department_id}"'


def _by(command: Any, pool: _Pool, by_no: int) -> str:
    if not by_no:
        return ""
    data = command.data
    date, _ = pool or (data.date, data.slot)
    return f',"by_token_id":"{token_id(data.facility_id, data.department_id, date, by_no)}"'


def _reason(reason: str | None) -> str:
    return "" if reason is None else f',"reason":{quoted(reason)}'


def _confirmed(command: Any, sequence: int, pool: _Pool, figure: _Figure, word: _Word) -> WrittenEvent:
    no, doctor_id = figure(), word()
    patient_id, source = command.data.patient_id, command.data.source
    named, data = _token(command, pool, no, patient_id, source, "CONFIRMED", doctor_id)
    return WrittenEvent("TokenConfirmed", sequence, named, data)


def _waitlisted(command: Any, sequence: int, pool: _Pool, figure: _Figure, _word: _Word) -> WrittenEvent:
    no, position = figure(), figure()
    patient_id, source = command.data.patient_id, command.data.source
    named, data = _token(command, pool, no, patient_id, source, "WAITLISTED", "", f',"position":{position}')
    return WrittenEvent("TokenWaitlisted", sequence, named, data)


def _preempted(command: AnyCommand, sequence: int, pool: _Pool, figure: _Figure, word: _Word) -> WrittenEvent:
    no, priority, position, by_no = figure(), figure(), figure(), figure()
    patient_id, lost_doctor_id, reason = word(), word(), word()
    further = f',"position":{position},"lost_doctor_id":"{lost_doctor_id}","reason":"{reason}"'
    further += _by(command, pool, by_no)
    named, data = _token(command, pool, no, patient_id, _SOURCES[priority], "WAITLISTED", "", further)
    return WrittenEvent("TokenPreempted", sequence, named, data)


def _promoted(command: AnyCommand, sequence: int, pool: _Pool, figure: _Figure, word: _Word) -> WrittenEvent:
    no, priority, status = figure(), figure(), figure()
    patient_id, doctor_id, reason = word(), word(), word()
    source, further = _SOURCES[priority], f',"reason":"{reason}"'
    named, data = _token(command, pool, no, patient_id, source, _STATUSES[status], doctor_id, further)
    return WrittenEvent("TokenPromoted", sequence, named, data)


def _reassigned(command: AnyCommand, sequence: int, pool: _Pool, figure: _Figure, word: _Word) -> WrittenEvent:
    no, priority, status, by_no = figure(), figure(), figure(), figure()
    patient_id, doctor_id, from_doctor_id, reason = word(), word(), word(), word()
    further = f',"from_doctor_id":"{from_doctor_id}","reason":"{reason}"{_by(command, pool, by_no)}'
    named, data = _token(command, pool, no, patient_id, _SOURCES[priority], _STATUSES[status], doctor_id, further)
    return WrittenEvent("TokenReassigned", sequence, named, data)


def _upgraded(command: Any, sequence: int, pool: _Pool, figure: _Figure, word: _Word) -> WrittenEvent:
    no, status, from_priority, doctor_id = figure(), figure(), figure(), word()
    patient_id, further = command.data.patient_id, f',"from_source":"{_SOURCES[from_priority]}"'
    named, data = _token(command, pool, no, patient_id, "EMERGENCY", _STATUSES[status], doctor_id, further)
    return WrittenEvent("TokenUpgraded", sequence, named, data)


def _of_the_named(command: Any, sequence: int, pool: _Pool, figure: _Figure, word: _Word) -> WrittenEvent:
    no, priority, code, patient_id, doctor_id = figure(), figure(), figure(), word(), word()
    status = _STATUSES[code]
    further = _reason(command.data.reason) if status == "CANCELLED" else ""
    named, data = _token(command, pool, no, patient_id, _SOURCES[priority], status, doctor_id, further)
    return WrittenEvent(_SAID_OF_STATUS[status], sequence, named, data)


def _expired(command: AnyCommand, sequence: int, pool: _Pool, figure: _Figure, word: _Word) -> WrittenEvent:
    no, priority, patient_id = figure(), figure(), word()
    named, data = _token(command, pool, no, patient_id, _SOURCES[priority], "EXPIRED", "")
    return WrittenEvent("TokenExpired", sequence, named, data)


def _doctor_registered(command: Any, sequence: int, _pool: _Pool, _figure: _Figure, _word: _Word) -> WrittenEvent:
    return WrittenEvent("DoctorRegistered", sequence, None, command.data.model_dump_json(exclude_unset=True))


def _capacity_changed(command: Any, sequence: int, pool: _Pool, figure: _Figure, _word: _Word) -> WrittenEvent:
    taken = figure()
    capacity, over_by = command.data.capacity, max(0, taken - command.data.capacity)
    data = f'{_session(command, pool)},"capacity":{capacity},"taken":{taken},"over_by":{over_by}}}'
    return WrittenEvent("SlotCapacityChanged", sequence, None, data)


def _availability_changed(command: Any, sequence: int, pool: _Pool, _figure: _Figure, _word: _Word) -> WrittenEvent:
    available = "true" if command.data.available else "false"
    data = f'{_session(command, pool)},"available":{available}{_reason(command.data.reason)}}}'
    return WrittenEvent("DoctorAvailabilityChanged", sequence, None, data)


def _slot_closed(command: Any, sequence: int, _pool: _Pool, _figure: _Figure, _word: _Word) -> WrittenEvent:
    data = f'{_department(command)},"date":"{command.data.date}","slot":"{command.data.slot}"}}'
    return WrittenEvent("SlotClosed", sequence, None, data)


def _rejected(command: Any, sequence: int, _pool: _Pool, _figure: _Figure, word: _Word) -> WrittenEvent:
    reason = word()
    named = command.data.token_id if reason in {"TOKEN_UNKNOWN", "INVALID_TRANSITION"} else None
    return _command_rejected(command, sequence, reason, named)


def _repeated(command: AnyCommand, sequence: int, _pool: _Pool, figure: _Figure, word: _Word) -> WrittenEvent:
    token_day, token_no, reason = figure(), figure(), word()
    facility_id, department_id = command.data.facility_id, command.data.department_id
    named = token_id(facility_id, department_id, date_of_day(token_day), token_no) if token_no else None
    return _command_rejected(command, sequence, reason, named)


def _command_rejected(command: AnyCommand, sequence: int, reason: str, named: str | None) -> WrittenEvent:
    token = "" if named is None else f',"token_id":"{named}"'
    data = f'{_department(command)},"command_type":"{type(command).__name__}","reason":"{reason}"{token}}}'
    return WrittenEvent("CommandRejected", sequence, named, data, reason)


_NAMES_A_POOL = 0

# kind: how many figures and words it has, and what makes the event of them
_KINDS: dict[int, tuple[int, int, Callable[[AnyCommand, int, _Pool, _Figure, _Word], WrittenEvent]]] = {
    1: (1, 1, _confirmed),
    2: (2, 0, _waitlisted),
    3: (4, 3, _preempted),
    4: (3, 3, _promoted),
    5: (4, 4, _reassigned),
    6: (3, 1, _upgraded),
    7: (3, 2, _of_the_named),
    8: (2, 1, _expired),
    9: (0, 0, _doctor_registered),
    10: (1, 0, _capacity_changed),
    11: (0, 0, _availability_changed),
    12: (0, 0, _slot_closed),
    13: (0, 1, _rejected),
    14: (2, 1, _repeated),
}
