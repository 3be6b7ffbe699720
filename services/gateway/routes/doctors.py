"""Doctors: registered, away or back, with more or fewer seats, calling the next patient."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import TypeAdapter

from schemas.commands import RegisterDoctorData, Schedule, SessionData, SetDoctorAvailabilityData, SetSlotCapacityData
from schemas.words import DepartmentId, DoctorId, FacilityId, Part
from services.gateway import queries
from services.gateway.access import Access, may
from services.gateway.answers import Availability, Capacity, Doctor, Token
from services.gateway.openapi import read, taking, written
from services.gateway.parts import Parts, TheParts
from services.gateway.permissions import Action
from services.gateway.quick import QuickRoute
from services.gateway.requests import AT_POSITION, AsAsked, How, answered, body
from services.gateway.shapes import AvailabilityBody, CapacityBody, Doctors, KnownDoctor, SessionBody

router = APIRouter(tags=["doctors"], route_class=QuickRoute)

_SCHEDULE: TypeAdapter[Schedule] = TypeAdapter(Schedule)  # from JSON: from Python, strictly, no text is a weekday
DoctorPath = Annotated[DoctorId, Path()]


@router.post(
    "/doctors",
    summary="Register a doctor",
    responses=written((200, Doctor)),
    openapi_extra=taking(RegisterDoctorData),
    response_class=Response,
)
async def register(
    parts: TheParts,
    how: AsAsked,
    access: Annotated[Access, may(Action.REGISTER_DOCTOR)],
    doctor: Annotated[RegisterDoctorData, body(RegisterDoctorData)],
) -> Response:
    """New, or in place of what was registered before as a whole; the schedule counts at once."""
    access.refuse_unless_covered(doctor.facility_id, doctor.department_id)
    outcome = await parts.writes.ask(access.caller, "RegisterDoctor", doctor, key=how.key, wait_s=how.wait_s)
    return answered(outcome)


@router.get(
    "/doctors",
    summary="A department's doctors",
    responses=read(),
    dependencies=[AT_POSITION],
    response_model_exclude_none=True,
)
async def list_doctors(
    parts: TheParts,
    access: Annotated[Access, may(Action.LIST_DOCTORS)],
    facility_id: FacilityId,
    department_id: DepartmentId,
) -> Doctors:
    """Each with the week that they work, as registered last."""
    access.refuse_unless_covered(facility_id, department_id)
    rows = await parts.history.rows(queries.DOCTORS, facility_id, department_id)
    return Doctors(
        doctors=[KnownDoctor(**{**row, "schedule": _SCHEDULE.validate_json(row["schedule"])}) for row in rows]
    )


@router.put(
    "/doctors/{doctor_id}/availability",
    summary="A doctor is away, or back",
    responses=written((200, Availability)),
    openapi_extra=taking(AvailabilityBody),
    response_class=Response,
)
async def set_availability(
    parts: TheParts,
    how: AsAsked,
    doctor_id: DoctorPath,
    access: Annotated[Access, may(Action.SET_AVAILABILITY)],
    said: Annotated[AvailabilityBody, body(AvailabilityBody)],
) -> Response:
    """Patients go to colleagues, or wait; and come back."""
    data = SetDoctorAvailabilityData(doctor_id=doctor_id, **_given(said))
    return await _of_session(parts, access, how, "SetDoctorAvailability", data)


@router.put(
    "/doctors/{doctor_id}/capacity",
    summary="A session has more or fewer seats",
    responses=written((200, Capacity)),
    openapi_extra=taking(CapacityBody),
    response_class=Response,
)
async def set_capacity(
    parts: TheParts,
    how: AsAsked,
    doctor_id: DoctorPath,
    access: Annotated[Access, may(Action.SET_CAPACITY)],
    said: Annotated[CapacityBody, body(CapacityBody)],
) -> Response:
    """On that date alone; more seats go to who waits, fewer evict nobody."""
    data = SetSlotCapacityData(doctor_id=doctor_id, **_given(said))
    return await _of_session(parts, access, how, "SetSlotCapacity", data)


@router.post(
    "/doctors/{doctor_id}/call-next",
    summary="Call the next patient",
    responses=written((200, Token)),
    openapi_extra=taking(SessionBody),
    response_class=Response,
)
async def call_next(
    parts: TheParts,
    how: AsAsked,
    doctor_id: DoctorPath,
    access: Annotated[Access, may(Action.CALL_NEXT)],
    session: Annotated[SessionBody, body(SessionBody)],
) -> Response:
    """The first who is there, by class, then arrival; who was called before is done."""
    data = SessionData(doctor_id=doctor_id, **_given(session))
    return await _of_session(parts, access, how, "CallNext", data)


Session = SetDoctorAvailabilityData | SetSlotCapacityData | SessionData


async def _of_session(parts: Parts, access: Access, how: How, kind: str, data: Session) -> Response:
    access.refuse_unless_covered(data.facility_id, data.department_id)
    access.refuse_unless_doctor(data.doctor_id)
    return answered(await parts.writes.ask(access.caller, kind, data, key=how.key, wait_s=how.wait_s))


def _given(said: Part) -> dict[str, Any]:
    return said.model_dump(exclude_none=True)
