"""The ten commands that a portal, a kiosk or a desk may publish (spec §2)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from schemas.words import (
    LEFT_OUT,
    Capacity,
    Date,
    DepartmentId,
    DoctorId,
    FacilityId,
    Part,
    PatientId,
    Slot,
    Source,
    Text,
    TokenId,
    Weekday,
)

Attribute = Annotated[str, Field(min_length=1, max_length=256)]
Reason = Annotated[Text, Field(description="Why, in the sender's words.", examples=["travelling"])]


class CommandEnvelope(BaseModel):
    """A CloudEvents 1.0 event in structured JSON mode; attributes that are not named here are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    specversion: Annotated[Literal["1.0"], Field(description="The version of CloudEvents.")]
    id: Annotated[
        str, Field(min_length=1, max_length=64, description="The sender's idempotency key (R2).", examples=["web-81723"])
    ]
    source: Annotated[str, Field(min_length=1, max_length=128, description="Who sends.", examples=["portal/web"])]
    time: Annotated[
        Attribute | None, LEFT_OUT, Field(description="Not looked at: the record's Kafka timestamp counts.")
    ] = None
    traceparent: Annotated[Attribute | None, LEFT_OUT, Field(description="W3C trace context, handed on to the events.")] = None
    correlationid: Annotated[Attribute | None, LEFT_OUT, Field(description="Handed on to the events.")] = None


class DepartmentData(Part):
    """What all commands' data carry: the department, which is the stream that they are ordered in."""

    facility_id: FacilityId
    department_id: DepartmentId


def _none_twice(weekdays: list[Weekday]) -> list[Weekday]:
    if len(set(weekdays)) != len(weekdays):
        raise ValueError("a weekday stands twice")
    return weekdays


Weekdays = Annotated[
    list[Weekday],
    Field(min_length=1, description="The days it is worked on; left out: every day.", examples=[["MON", "WED"]]),
    AfterValidator(_none_twice),
]


class ScheduleEntry(Part):
    """One slot of a doctor's week."""

    slot: Slot
    capacity: Capacity
    weekdays: Annotated[Weekdays | None, LEFT_OUT] = None


def _one_entry_a_slot_and_weekday(schedule: list[ScheduleEntry]) -> list[ScheduleEntry]:
    worked: set[tuple[str, Weekday]] = set()
    for entry in schedule:
        for weekday in entry.weekdays or Weekday:
            if (entry.slot, weekday) in worked:
                raise ValueError("a slot stands twice for one weekday")
            worked.add((entry.slot, weekday))
    return schedule


Schedule = Annotated[
    list[ScheduleEntry],
    AfterValidator(_one_entry_a_slot_and_weekday),
    Field(description="The slots worked; may be empty; a slot may stand again on other weekdays."),
]


class RegisterDoctorData(DepartmentData):
    """A doctor and the week they work, new or replacing the old one as a whole (R16)."""

    doctor_id: DoctorId
    name: Annotated[Text, Field(description="As it is shown.", examples=["Dr Rao"])]
    schedule: Schedule


class RegisterDoctor(CommandEnvelope):
    """Registers a doctor, or replaces their schedule (R16)."""

    type: Literal["opd.RegisterDoctor.v1"]
    data: RegisterDoctorData


class RequestTokenData(DepartmentData):
    """A patient's wish for a place in a pool (R4-R7)."""

    date: Date
    slot: Slot
    patient_id: PatientId
    source: Source
    doctor_id: Annotated[DoctorId | None, LEFT_OUT, Field(description="Pinned: only this doctor will do.")] = None


class RequestToken(CommandEnvelope):
    """Asks for a token (R4-R7), or raises the one held to an emergency (R4a)."""

    type: Literal["opd.RequestToken.v1"]
    data: RequestTokenData


class CancelTokenData(DepartmentData):
    """The token given back."""

    token_id: TokenId
    reason: Annotated[Reason | None, LEFT_OUT] = None


class CancelToken(CommandEnvelope):
    """Gives a token back (R11)."""

    type: Literal["opd.CancelToken.v1"]
    data: CancelTokenData


class TokenData(DepartmentData):
    """The token meant."""

    token_id: TokenId


class MarkNoShow(CommandEnvelope):
    """Says that the patient did not come (R12)."""

    type: Literal["opd.MarkNoShow.v1"]
    data: TokenData


class CheckIn(CommandEnvelope):
    """Says that the patient is there (R13)."""

    type: Literal["opd.CheckIn.v1"]
    data: TokenData


class CompleteConsultation(CommandEnvelope):
    """Says that the consultation is over (R15)."""

    type: Literal["opd.CompleteConsultation.v1"]
    data: TokenData


class SessionData(DepartmentData):
    """The session meant: one doctor in one slot on one date."""

    doctor_id: DoctorId
    date: Date
    slot: Slot


class CallNext(CommandEnvelope):
    """Calls the session's next patient who is there (R14)."""

    type: Literal["opd.CallNext.v1"]
    data: SessionData


class SetSlotCapacityData(SessionData):
    """The session's seats on that one date."""

    capacity: Capacity


class SetSlotCapacity(CommandEnvelope):
    """Sets a session's capacity on one date (R17)."""

    type: Literal["opd.SetSlotCapacity.v1"]
    data: SetSlotCapacityData


class SetDoctorAvailabilityData(DepartmentData):
    """Whether the doctor is there, in one slot or on the whole day."""

    doctor_id: DoctorId
    date: Date
    slot: Annotated[Slot | None, LEFT_OUT, Field(description="Left out: all that doctor's slots that day.")] = None
    available: bool
    reason: Annotated[Reason | None, LEFT_OUT] = None


class SetDoctorAvailability(CommandEnvelope):
    """Says that a doctor is away, or back (R18)."""

    type: Literal["opd.SetDoctorAvailability.v1"]
    data: SetDoctorAvailabilityData


class PoolData(DepartmentData):
    """The pool meant."""

    date: Date
    slot: Slot


class CloseSlot(CommandEnvelope):
    """Closes a pool: nothing more is granted in it (R19)."""

    type: Literal["opd.CloseSlot.v1"]
    data: PoolData


Command = (
    RegisterDoctor
    | RequestToken
    | CancelToken
    | MarkNoShow
    | CheckIn
    | CompleteConsultation
    | CallNext
    | SetSlotCapacity
    | SetDoctorAvailability
    | CloseSlot
)
COMMANDS: tuple[type[Command], ...] = (
    RegisterDoctor,
    RequestToken,
    CancelToken,
    MarkNoShow,
    CheckIn,
    CompleteConsultation,
    CallNext,
    SetSlotCapacity,
    SetDoctorAvailability,
    CloseSlot,
)
ANY_COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="type")])
