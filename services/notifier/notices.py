"""Which events patients are told of, and what a message needs to know. Pure: no clock, no server."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, NamedTuple

from schemas.commands import RegisterDoctorData
from schemas.events import AnyEvent, TokenEventData
from schemas.words import Status

Session = tuple[str, str, str, str]  # department, doctor_id, date, slot


class Kind(StrEnum):
    """What a message is about; the names of its wording."""

    CONFIRMED = "confirmed"
    WAITLISTED = "waitlisted"
    PREEMPTED = "preempted"
    PROMOTED = "promoted"
    REASSIGNED = "reassigned"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"
    EXPIRED = "expired"
    SOON = "soon"


_KINDS: Final = {
    "TokenConfirmed": Kind.CONFIRMED,
    "TokenWaitlisted": Kind.WAITLISTED,
    "TokenPreempted": Kind.PREEMPTED,
    "TokenPromoted": Kind.PROMOTED,
    "TokenReassigned": Kind.REASSIGNED,
    "TokenCancelled": Kind.CANCELLED,
    "TokenNoShow": Kind.NO_SHOW,
    "TokenExpired": Kind.EXPIRED,
}


class Message(NamedTuple):
    """A message to be sent, as it stands in the outbox.

    Attributes:
        about: what its words name: `token_no`, `department`, `doctor_id`, `date`, `slot`, `position`, `before`.
    """

    event_id: str
    kind: Kind
    facility_id: str
    patient_id: str
    token_id: str
    sequence: int
    said_at: str
    about: dict[str, Any]


class Present(NamedTuple):
    """One who has a seat, is there, and was not called yet."""

    token_id: str
    patient_id: str
    department: str
    doctor_id: str
    date: str
    slot: str
    class_: int
    token_no: int


class Notices(NamedTuple):
    """What follows from some events, to be kept in one transaction.

    Attributes:
        messages: by token, the last event's, if patients are told of it; each event of a token overtakes the earlier.
        touched: tokens that something happened to.
        present: of those, who sits in the hall now.
        called: for each session that somebody was called in, the last such event's id, sequence and time.
        doctors: department, doctor_id, name.
    """

    messages: dict[str, Message]
    touched: set[str]
    present: dict[str, Present]
    called: dict[Session, tuple[str, int, str]]
    doctors: dict[tuple[str, str], str]


def notices_of(events: Iterable[AnyEvent]) -> Notices:
    """Give what follows from events, in their order."""
    found = Notices({}, set(), {}, {}, {})
    for event in events:
        data = event.data
        department = f"{data.facility_id}/{data.department_id}"
        if isinstance(data, RegisterDoctorData):
            found.doctors[department, data.doctor_id] = data.name
        elif isinstance(data, TokenEventData):
            _add(found, event, data, department)
    return found


def _add(found: Notices, event: AnyEvent, data: Any, department: str) -> None:
    token_id, event_type = data.token_id, event.type[4:-3]
    found.touched.add(token_id)
    found.messages.pop(token_id, None)
    found.present.pop(token_id, None)
    if event_type in _KINDS:
        about = {
            "token_no": data.token_no,
            "department": data.department_id,
            "doctor_id": data.doctor_id,
            "date": data.date,
            "slot": data.slot,
            "position": getattr(data, "position", None),
        }
        found.messages[token_id] = Message(
            event.id,
            _KINDS[event_type],
            data.facility_id,
            data.patient_id,
            token_id,
            int(event.sequence),
            event.time,
            {name: value for name, value in about.items() if value is not None},
        )
    if data.status is Status.CHECKED_IN and data.doctor_id is not None:
        found.present[token_id] = Present(
            token_id,
            data.patient_id,
            department,
            data.doctor_id,
            data.date,
            data.slot,
            data.source.priority,
            data.token_no,
        )
    if event_type == "TokenCalled":
        session = (department, data.doctor_id, data.date, data.slot)
        found.called[session] = (event.id, int(event.sequence), event.time)
