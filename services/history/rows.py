"""What the events of one transaction become: rows, by table."""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import chain
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import astuple
from pydantic_core import to_json

from schemas.commands import PoolData, RegisterDoctorData
from schemas.events import (
    AnyEvent,
    DoctorAvailabilityChangedData,
    SlotCapacityChangedData,
    UnreadableEvent,
    moment_of,
    place_of,
    read_event,
)
from schemas.plain_events import read_plain_event

Row = tuple[Any, ...]
Read = Callable[[bytes], AnyEvent]
SessionKey = tuple[str, str, str, str, str]  # facility, department, date, slot, doctor


class _Said(NamedTuple):
    """What every event has, as the tables have it."""

    partition: int
    command_offset: int
    n: int
    facility_id: str
    department_id: str
    sequence: int


class _Token(Struct, gc=False):
    """A row of `tokens`, of which an earlier transaction may have written another one: moments and counts are added."""

    token_id: str
    facility_id: str
    department_id: str
    date: str
    slot: str
    token_no: int
    patient_id: str
    asked_as: str
    source: str
    status: str
    doctor_id: str | None
    sequence: int
    times_preempted: int = 0
    requested_at: datetime | None = None
    seated_at: datetime | None = None
    checked_in_at: datetime | None = None
    called_at: datetime | None = None
    ended_at: datetime | None = None


_SEATED: Final = frozenset({"CONFIRMED", "CHECKED_IN"})
_MOMENTS: Final = {
    "TokenConfirmed": "requested_at",
    "TokenWaitlisted": "requested_at",
    "TokenCheckedIn": "checked_in_at",
    "TokenCalled": "called_at",
    "TokenCompleted": "ended_at",
    "TokenCancelled": "ended_at",
    "TokenNoShow": "ended_at",
    "TokenExpired": "ended_at",
}
# The last five columns of `token_events`: reason, former doctor, former source, by whom, position.
_MORE: Final[dict[str, Callable[[Any], Row]]] = {
    "TokenWaitlisted": lambda data: (None, None, None, None, data.position),
    "TokenPreempted": lambda data: (data.reason, data.lost_doctor_id, None, data.by_token_id, data.position),
    "TokenPromoted": lambda data: (data.reason, None, None, None, None),
    "TokenReassigned": lambda data: (data.reason, data.from_doctor_id, None, data.by_token_id, None),
    "TokenUpgraded": lambda data: (None, None, data.from_source, None, None),
    "TokenCancelled": lambda data: (data.reason, None, None, None, None),
}
_NO_MORE: Final = (None,) * 5
_NUMBERS: Final = ("token_no", "position", "taken", "over_by")
_MAX_INTEGER, _MAX_BIGINT = 2**31 - 1, 2**63 - 1


class Rows:
    """The rows of one transaction, in the order of their tables' columns.

    Attributes:
        token_events: likewise each of the others that are added to and never changed: by the table's name.
        faults: partition, offset in the events topic, and what was wrong there.
        session_settings: capacity and availability, as far as they were said, the last word of each.
    """

    def __init__(self) -> None:
        self.token_events: list[Row] = []
        self.rejections: list[Row] = []
        self.department_events: list[Row] = []
        self.registrations: list[Row] = []
        self.closed_pools: list[Row] = []
        self.faults: list[Row] = []
        self.session_settings: dict[SessionKey, list[Any]] = {}
        self._tokens: dict[str, _Token] = {}

    def tokens(self) -> tuple[list[Row], list[Row]]:
        """Give a row for each token that was issued here, and for each other one that was touched."""
        issued: list[Row] = []
        touched: list[Row] = []
        for token in self._tokens.values():
            (touched if token.requested_at is None else issued).append(astuple(token))
        return issued, touched

    def positions(self) -> Iterator[int]:
        """Give the places in waitlists that were given."""
        return (row[-1] for row in self.token_events if row[-1] is not None)

    def followed(self) -> Iterator[tuple[str, str, str]]:
        """Give the events whose commands named a trace: id, type, `traceparent`."""
        rejections = ((*row[:6], "CommandRejected", *row[6:]) for row in self.rejections)
        for row in chain(self.token_events, self.department_events, rejections):
            kind, traceparent = row[6], row[10]
            if traceparent is not None:
                yield "-".join(map(str, row[:3])), kind, traceparent

    def add(self, event: AnyEvent, today: str) -> tuple[int, int]:
        """Add what an event becomes; give the offset of its command and its number.

        `today` is its department's day (R3).
        """
        data: Any = event.data
        place, kind, time = place_of(event.id), event.type[4:-3], moment_of(event.time)
        said = _Said(*place, data.facility_id, data.department_id, int(event.sequence))
        cause = (time, event.causationid, event.correlationid, event.traceparent)
        if kind.startswith("Token"):
            more = _MORE[kind](data) if kind in _MORE else _NO_MORE
            self.token_events.append(
                (*said, kind, *cause, data.token_id, data.source, data.status, data.doctor_id, *more)
            )
            self._touch(said, kind, time, data)
        elif kind == "CommandRejected":
            self.rejections.append((*said, *cause, data.command_type, data.reason, data.token_id))
        else:
            self._add_of_department(said, kind, cause, data, today)
        return place[1:]

    def _touch(self, said: _Said, kind: str, time: datetime, data: Any) -> None:
        token = self._tokens.get(data.token_id)
        if token is None:
            token = self._tokens[data.token_id] = _Token(
                data.token_id,
                data.facility_id,
                data.department_id,
                data.date,
                data.slot,
                data.token_no,
                data.patient_id,
                data.source,
                data.source,
                data.status,
                data.doctor_id,
                said.sequence,
            )
        else:
            token.source, token.status, token.doctor_id = data.source, data.status, data.doctor_id
            token.sequence = said.sequence
        moment = _MOMENTS.get(kind)
        if moment is not None and getattr(token, moment) is None:
            setattr(token, moment, time)
        if token.seated_at is None and data.status in _SEATED:
            token.seated_at = time
        if kind == "TokenPreempted":
            token.times_preempted += 1

    def _add_of_department(self, said: _Said, kind: str, cause: Row, data: Any, today: str) -> None:
        where = (said.facility_id, said.department_id)
        doctor_id, at, slot = None, None, None
        if isinstance(data, RegisterDoctorData):
            doctor_id = data.doctor_id
            schedule = to_json([entry.model_dump(exclude_none=True) for entry in data.schedule]).decode()
            self.registrations.append((*where, doctor_id, said.sequence, today, cause[0], data.name, schedule))
        elif isinstance(data, SlotCapacityChangedData | DoctorAvailabilityChangedData):
            doctor_id, at, slot = data.doctor_id, data.date, data.slot
            setting = self.session_settings.setdefault((*where, at, slot, doctor_id), [None, None])
            if isinstance(data, SlotCapacityChangedData):
                setting[0] = data.capacity
            else:
                setting[1] = data.available
        elif isinstance(data, PoolData):
            at, slot = data.date, data.slot
            self.closed_pools.append((*where, at, slot, cause[0]))
        text = data.model_dump_json(exclude_none=True, exclude={"facility_id", "department_id"})
        self.department_events.append((*said, kind, *cause, doctor_id, at, slot, text))


def read_keepable(value: bytes) -> AnyEvent:
    """Read an event as `read_event` does, and refuse what no allocator says and no column holds.

    Raises:
        UnreadableEvent: it is none, or a number or the time of it is beyond what there can be.
    """
    event = read_event(value)
    try:
        partition, offset, n = place_of(event.id)
        moment_of(event.time)
    except ValueError:
        raise UnreadableEvent("its id or its time is none") from None
    said = [getattr(event.data, name, None) or 0 for name in _NUMBERS]
    if max(partition, n, *said) > _MAX_INTEGER or offset > _MAX_BIGINT:
        raise UnreadableEvent("a number in it is larger than there can be")
    return event


def read_quickly(value: bytes) -> AnyEvent:
    """Read an event as `read_keepable` does, a plain one in a fraction of its time."""
    return read_plain_event(value) or read_keepable(value)
