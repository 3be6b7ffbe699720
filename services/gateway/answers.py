"""What a command's events mean to whoever sent it: a token, a session, …, or a problem."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from schemas.commands import (
    CallNext,
    CloseSlot,
    Command,
    PoolData,
    RegisterDoctor,
    RegisterDoctorData,
    RequestToken,
    SessionData,
    SetDoctorAvailability,
    SetSlotCapacity,
    SetSlotCapacityData,
)
from schemas.events import Position
from schemas.words import (
    Available,
    Date,
    DepartmentId,
    DoctorId,
    FacilityId,
    PatientId,
    Reason,
    RejectionReason,
    Slot,
    Source,
    Status,
    TokenId,
)
from services.gateway.problems import REASONS, Problem
from services.gateway.said import Said


class Token(BaseModel):
    """A token as it stood after the command."""

    token_id: TokenId
    token_no: Annotated[int, Field(ge=1, examples=[17])]
    facility_id: FacilityId
    department_id: DepartmentId
    date: Date
    slot: Slot
    patient_id: Annotated[PatientId | None, Field(description="Left out for who may not see it.")] = None
    source: Annotated[Source, Field(examples=["ONLINE"])]
    status: Annotated[Status, Field(examples=["CONFIRMED"])]
    doctor_id: Annotated[DoctorId | None, Field(description="With whom; left out while it waits.")] = None
    position: Annotated[Position | None, Field(description="Place in the waitlist, while it waits.")] = None


class Doctor(RegisterDoctorData):
    """A doctor and the week they work."""


class Capacity(SetSlotCapacityData):
    """A session's seats on one date."""

    taken: Annotated[int, Field(ge=0, examples=[13])]
    over_by: Annotated[int, Field(ge=0, description="max(0, taken - capacity).", examples=[1])]


class SessionAvailability(SessionData):
    """Whether the doctor of one session is there."""

    available: Available
    reason: Reason | None = None


class Availability(BaseModel):
    """The sessions that the doctor is away from, or back in."""

    sessions: list[SessionAvailability]


class ClosedSlot(PoolData):
    """A pool that grants nothing any more."""


Answer = Token | Doctor | Capacity | Availability | ClosedSlot


def answer(command: Command, events: Sequence[Said]) -> tuple[int, Answer]:
    """Give the HTTP status and what the command led to.

    Raises:
        Problem: the command was refused.
    """
    refuse(events[0])
    status = 200
    found: Answer
    match command:
        case RequestToken():
            token = _last(events, patient_id=command.data.patient_id)
            status = 201 if token.type in {"TokenConfirmed", "TokenWaitlisted"} else 200
            found = Token.model_validate(token.data)
        case RegisterDoctor():
            found = Doctor.model_validate(_of_type(events, "DoctorRegistered"), strict=False)
        case SetSlotCapacity():
            found = Capacity.model_validate(_of_type(events, "SlotCapacityChanged"))
        case SetDoctorAvailability():
            sessions = [each.data for each in events if each.type == "DoctorAvailabilityChanged"]
            found = Availability(sessions=[SessionAvailability.model_validate(each) for each in sessions])
        case CloseSlot():
            found = ClosedSlot.model_validate(_of_type(events, "SlotClosed"))
        case CallNext():
            found = Token.model_validate(_of_type(events, "TokenCalled"))
        case _:
            found = Token.model_validate(_last(events, token_id=command.data.token_id).data)
    return status, found


def refuse(said: Said) -> None:
    """Raise the problem that a CommandRejected is; any other event is none."""
    if said.type == "CommandRejected":
        reason = RejectionReason(said.data["reason"])
        raise Problem(REASONS[reason], reason=reason, token_id=said.data.get("token_id"))


def _last(events: Sequence[Said], **field: str) -> Said:
    """Give the last event of one token: what others lost by the command is none of the sender's business."""
    [(name, value)] = field.items()
    return [each for each in events if each.data.get(name) == value][-1]


def _of_type(events: Sequence[Said], kind: str) -> dict[str, Any]:
    return next(each.data for each in events if each.type == kind)
