"""Events as they happen."""

from typing import Annotated

from fastapi import APIRouter, Header
from pydantic_core import from_json, to_json

from schemas.words import Date, DepartmentId, FacilityId, Slot
from services.gateway.access import Access, may
from services.gateway.feed import Record
from services.gateway.openapi import read
from services.gateway.parts import TheParts
from services.gateway.permissions import Action
from services.gateway.problems import INVALID_REQUEST, FieldFault, Problem
from services.gateway.quick import QuickRoute
from services.gateway.said import EVENT_PLACE, EventPlace
from services.gateway.streams import EventStream, told

router = APIRouter(tags=["events"], route_class=QuickRoute)

_DOCTORS = ("doctor_id", "lost_doctor_id", "from_doctor_id")


@router.get(
    "/events",
    summary="Follow what happens",
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **read()},
)
async def follow(  # noqa: PLR0913, PLR0917  its filters
    parts: TheParts,
    access: Annotated[Access, may(Action.FOLLOW)],
    facility_id: FacilityId,
    department_id: DepartmentId,
    date: Date | None = None,
    slot: Slot | None = None,
    last_event_id: Annotated[
        str | None,
        Header(pattern=EVENT_PLACE, description="The last event had: goes on behind it.", examples=["3-1207-0"]),
    ] = None,
) -> EventStream:
    """Each event of a department, or of one pool, as the contract has it: from now on, or behind Last-Event-ID.

    A reader that is too slow is cut off, and goes on with Last-Event-ID; browsers do so by themselves.
    """
    access.refuse_unless_covered(facility_id, department_id)
    key = f"{facility_id}/{department_id}".encode()
    last = None if last_event_id is None else EventPlace.read(last_event_id)
    if last is not None and last.partition != parts.partition_of(key):
        fault = FieldFault(field="header.last-event-id", fault="not an event of this department")
        raise Problem(INVALID_REQUEST, errors=[fault])

    def seen(record: Record) -> bytes | None:
        return as_seen(record.value, access, date, slot)

    return EventStream(told(parts.feed, parts.events, key, last, seen))


def as_seen(value: bytes, access: Access, date: str | None, slot: str | None) -> bytes | None:
    """Give an event as a caller may see it; None if they may not, or did not ask for it."""
    event = from_json(value)
    data = event["data"]
    if (date and data.get("date") != date) or (slot and data.get("slot") != slot):
        return None
    if access.only_patient is not None and data.get("patient_id") != access.only_patient:
        return None
    if access.only_doctor is not None and access.only_doctor not in {data.get(name) for name in _DOCTORS}:
        return None
    if not access.sees_patients and data.pop("patient_id", None) is not None:
        return to_json(event)
    return value
