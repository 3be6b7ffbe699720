"""Reads a record of the events topic with no more trust than the audit can afford."""

from typing import Any, NamedTuple

from pydantic_core import from_json

from schemas.words import Source, Status
from services.auditor.records import Record

_SOURCES = frozenset(Source)
_STATUSES = frozenset(Status)
_TEXT_OR_NULL = (str, type(None))
_TOKEN: dict[str, Any] = {
    "date": str,
    "slot": str,
    "token_id": str,
    "token_no": int,
    "patient_id": str,
    "source": str,
    "status": str,
    "doctor_id": _TEXT_OR_NULL,
}
_SESSION: dict[str, Any] = {"doctor_id": str, "date": str, "slot": str}
_FIELDS: dict[str, tuple[tuple[str, Any], ...]] = {
    kind: tuple(fields.items())
    for kind, fields in {
        "TokenConfirmed": _TOKEN,
        "TokenWaitlisted": {**_TOKEN, "position": int},
        "TokenPreempted": {**_TOKEN, "position": int, "lost_doctor_id": str, "reason": str},
        "TokenPromoted": {**_TOKEN, "reason": str},
        "TokenReassigned": {**_TOKEN, "from_doctor_id": str, "reason": str},
        "TokenUpgraded": {**_TOKEN, "from_source": str},
        "TokenCancelled": _TOKEN,
        "TokenNoShow": _TOKEN,
        "TokenCheckedIn": _TOKEN,
        "TokenCalled": _TOKEN,
        "TokenCompleted": _TOKEN,
        "TokenExpired": _TOKEN,
        "DoctorRegistered": {"doctor_id": str, "schedule": list},
        "SlotCapacityChanged": {**_SESSION, "capacity": int, "taken": int, "over_by": int},
        "DoctorAvailabilityChanged": {**_SESSION, "available": bool},
        "SlotClosed": {"date": str, "slot": str},
        "CommandRejected": {"command_type": str, "reason": str},
    }.items()
}


class EventRecord(NamedTuple):
    """An event and the record that it stands in.

    Attributes:
        event_id: `{partition}-{offset}-{n}`.
        place: offset and n: the command's record, and the event's number among those that it caused.
        type: `TokenConfirmed`, …
        sequence: the department's running event number.
    """

    record: Record
    event_id: str
    place: tuple[int, int]
    type: str
    sequence: int
    data: dict[str, Any]


def read_event(record: Record) -> EventRecord | None:
    """Read an event's envelope; None if it is none, or says that it belongs to another partition."""
    try:
        envelope = from_json(record.value or b"")
        event_id, kind, sequence, data = envelope["id"], envelope["type"], envelope["sequence"], envelope["data"]
        partition, offset, n = event_id.split("-")
        event = EventRecord(record, event_id, (int(offset), int(n)), kind[4:-3], int(sequence), data)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if partition != str(record.partition) or event_id != f"{partition}-{event.place[0]}-{event.place[1]}":
        return None
    return event if kind == f"opd.{event.type}.v1" else None


def is_of_the_contract(event: EventRecord) -> bool:
    """Whether the event's data has what the books are kept from."""
    fields = _FIELDS.get(event.type)
    if fields is None or not isinstance(event.data, dict):
        return False
    data = event.data
    for name, kind in fields:
        if not isinstance(data.get(name), kind):
            return False
    return "status" not in data or (data["source"] in _SOURCES and data["status"] in _STATUSES)
