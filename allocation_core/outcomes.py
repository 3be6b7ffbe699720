"""What the slot store answers: outcomes, packed to what only it knows, and the events they stand for.

A batch's outcomes are one flat list of words: the offset of a command, the sequence of its first event, the number of
its events, then the events, each a letter and its words (`_KINDS`). `@` is no event: it names the pool of what follows
where the command does not.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

import ormsgpack

from allocation_core.calendar import date_of_day, token_id
from schemas.commands import CloseSlot, Command, RegisterDoctor, RequestToken, SetDoctorAvailability, SetSlotCapacity
from schemas.events import Event
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

type_of = lru_cache(maxsize=64)(lambda envelope_type: envelope_type.removeprefix("opd.").removesuffix(".v1"))

Data = dict[str, Any]
_Pool = tuple[str, str]  # date and slot
_NAMES_ITS_POOL = frozenset({RequestToken, SetSlotCapacity, CloseSlot})


class Outcomes(Mapping[int, list[Event]]):
    """A batch's outcomes: the events of each command by its offset, made when they are asked for.

    Thousands of events at once would fall out of the processor's cache before they are written; so each command's are
    made anew at every look.
    """

    def __init__(self, packed: bytes, commands: Mapping[int, Command]) -> None:
        """Read what the script `decide_batch` gave; outcomes of commands that are not asked for are passed over."""
        self._words: list[Any] = ormsgpack.unpackb(packed)
        self._commands = commands
        self._starts = {offset: at for offset, at in _starts(self._words) if offset in commands}

    def __getitem__(self, offset: int) -> list[Event]:
        words, at, command = self._words, self._starts[offset], self._commands[offset]
        sequence, count = words[at + 1 : at + 3]
        at += 3
        pool = _pool_of(command)
        events: list[Event] = []
        while len(events) < count:
            size, render = _KINDS[words[at]]
            if words[at] == "@":
                pool = date_of_day(words[at + 1]), words[at + 2]
            else:
                name, data = render(command, pool, words[at : at + size])
                events.append(Event(name, sequence + len(events), data))
            at += size
        return events

    def __iter__(self) -> Iterator[int]:
        return iter(self._starts)

    def __len__(self) -> int:
        return len(self._starts)


def _starts(words: list[Any]) -> Iterator[tuple[int, int]]:
    """Give each command's offset and where its outcome begins."""
    at, end = 0, len(words)
    while at < end:
        yield words[at], at
        count = words[at + 2]
        at += 3
        while count:
            kind = words[at]
            count -= kind != "@"
            at += _KINDS[kind][0]


def _pool_of(command: Command) -> _Pool:
    """Give the pool that the command names; where it names none, the store does (`@`)."""
    if type(command) in _NAMES_ITS_POOL:
        data = cast("RequestToken", command).data
        return data.date, data.slot
    return "", ""


def _department(command: Command) -> Data:
    return {"facility_id": command.data.facility_id, "department_id": command.data.department_id}


def _token(  # noqa: PLR0913, PLR0917  a token event has that many fields
    command: Command, pool: _Pool, no: str, patient_id: str, source: str, status: str, doctor_id: str
) -> Data:
    command_data, (date, slot), token_no = command.data, pool, int(no)
    facility_id, department_id = command_data.facility_id, command_data.department_id
    return {
        "facility_id": facility_id,
        "department_id": department_id,
        "date": date,
        "slot": slot,
        "token_id": token_id(facility_id, department_id, date, token_no),
        "token_no": token_no,
        "patient_id": patient_id,
        "source": source,
        "status": status,
        "doctor_id": doctor_id or None,
    }


def _by(command: Command, pool: _Pool, data: Data, by_no: str) -> Data:
    if by_no:
        data["by_token_id"] = token_id(command.data.facility_id, command.data.department_id, pool[0], int(by_no))
    return data


def _confirmed(command: Any, pool: _Pool, fields: list[Any]) -> tuple[str, Data]:
    _, no, doctor_id = fields
    data = command.data
    return "TokenConfirmed", _token(command, pool, no, data.patient_id, data.source.value, "CONFIRMED", doctor_id)


def _waitlisted(command: Any, pool: _Pool, fields: list[Any]) -> tuple[str, Data]:
    _, no, position = fields
    data = _token(command, pool, no, command.data.patient_id, command.data.source.value, "WAITLISTED", "")
    data["position"] = position
    return "TokenWaitlisted", data


def _preempted(command: Command, pool: _Pool, fields: list[Any]) -> tuple[str, Data]:
    _, no, patient, priority, position, lost_doctor_id, reason, by_no = fields
    data = _token(command, pool, no, patient, _SOURCES[priority], "WAITLISTED", "")
    data["position"] = position
    data["lost_doctor_id"] = lost_doctor_id
    data["reason"] = reason
    return "TokenPreempted", _by(command, pool, data, by_no)


def _promoted(command: Command, pool: _Pool, fields: list[Any]) -> tuple[str, Data]:
    _, no, patient, priority, status, doctor_id, reason = fields
    data = _token(command, pool, no, patient, _SOURCES[priority], _STATUSES[status], doctor_id)
    data["reason"] = reason
    return "TokenPromoted", data


def _reassigned(command: Command, pool: _Pool, fields: list[Any]) -> tuple[str, Data]:
    _, no, patient, priority, status, doctor_id, from_doctor_id, reason, by_no = fields
    data = _token(command, pool, no, patient, _SOURCES[priority], _STATUSES[status], doctor_id)
    data["from_doctor_id"] = from_doctor_id
    data["reason"] = reason
    return "TokenReassigned", _by(command, pool, data, by_no)


def _upgraded(command: Any, pool: _Pool, fields: list[Any]) -> tuple[str, Data]:
    _, no, status, doctor_id, from_priority = fields
    data = _token(command, pool, no, command.data.patient_id, "EMERGENCY", _STATUSES[status], doctor_id)
    data["from_source"] = _SOURCES[from_priority]
    return "TokenUpgraded", data


def _of_the_named(command: Any, pool: _Pool, fields: list[Any]) -> tuple[str, Data]:
    _, no, patient, priority, code, doctor_id = fields
    status = _STATUSES[code]
    data = _token(command, pool, no, patient, _SOURCES[priority], status, doctor_id)
    if status == "CANCELLED" and command.data.reason is not None:
        data["reason"] = command.data.reason
    return _SAID_OF_STATUS[status], data


def _expired(command: Command, pool: _Pool, fields: list[Any]) -> tuple[str, Data]:
    _, no, patient, priority = fields
    return "TokenExpired", _token(command, pool, no, patient, _SOURCES[priority], "EXPIRED", "")


def _doctor_registered(command: Any, _pool: _Pool, _fields: list[Any]) -> tuple[str, Data]:
    registered: RegisterDoctor = command
    return "DoctorRegistered", registered.data.model_dump(mode="json", exclude_unset=True)


def _capacity_changed(command: Any, pool: _Pool, fields: list[Any]) -> tuple[str, Data]:
    changed: SetSlotCapacity = command
    taken = fields[1]
    data = _department(command)
    data["doctor_id"] = changed.data.doctor_id
    data["date"], data["slot"] = pool
    data["capacity"] = changed.data.capacity
    data["taken"] = taken
    data["over_by"] = max(0, taken - changed.data.capacity)
    return "SlotCapacityChanged", data


def _availability_changed(command: Any, pool: _Pool, _fields: list[Any]) -> tuple[str, Data]:
    changed: SetDoctorAvailability = command
    data = _department(command)
    data["doctor_id"] = changed.data.doctor_id
    data["date"], data["slot"] = pool
    data["available"] = changed.data.available
    if changed.data.reason is not None:
        data["reason"] = changed.data.reason
    return "DoctorAvailabilityChanged", data


def _slot_closed(command: Command, pool: _Pool, _fields: list[Any]) -> tuple[str, Data]:
    data = _department(command)
    data["date"], data["slot"] = pool
    return "SlotClosed", data


def _rejected(command: Any, _pool: _Pool, fields: list[Any]) -> tuple[str, Data]:
    reason = fields[1]
    data = _department(command)
    data["command_type"] = type_of(command.type)
    data["reason"] = reason
    if reason in {"TOKEN_UNKNOWN", "INVALID_TRANSITION"}:
        data["token_id"] = command.data.token_id
    return "CommandRejected", data


def _repeated(command: Command, _pool: _Pool, fields: list[Any]) -> tuple[str, Data]:
    _, reason, token_day, token_no = fields
    data = _department(command)
    data["command_type"] = type_of(command.type)
    data["reason"] = reason
    if token_no:
        date = date_of_day(token_day)
        data["token_id"] = token_id(command.data.facility_id, command.data.department_id, date, int(token_no))
    return "CommandRejected", data


def _names_a_pool(*_: object) -> tuple[str, Data]:
    raise AssertionError("@ is no event")


# letter: how many fields it has with itself, and what makes the event of them
_KINDS: dict[str, tuple[int, Callable[[Command, _Pool, list[Any]], tuple[str, Data]]]] = {
    "@": (3, _names_a_pool),
    "C": (3, _confirmed),
    "W": (3, _waitlisted),
    "P": (8, _preempted),
    "+": (7, _promoted),
    "R": (9, _reassigned),
    "U": (5, _upgraded),
    "T": (6, _of_the_named),
    "E": (4, _expired),
    "G": (1, _doctor_registered),
    "S": (2, _capacity_changed),
    "A": (1, _availability_changed),
    "Z": (1, _slot_closed),
    "!": (2, _rejected),
    "?": (4, _repeated),
}
