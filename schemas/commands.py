"""The ten commands that a portal, a kiosk or a desk may publish (spec §2)."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from schemas.words import (
    LEFT_OUT,
    Attribute,
    Available,
    Capacity,
    CommandId,
    CorrelationId,
    Date,
    DepartmentId,
    DoctorId,
    FacilityId,
    Part,
    PatientId,
    Reason,
    Slot,
    Source,
    Text,
    TokenId,
    Traceparent,
    Weekday,
)

COMMAND_TYPE = Field(description="Which command it is.")


class DepartmentData(Part):
    """What every message's data carry: the department, which is the stream that they are ordered in."""

    facility_id: FacilityId
    department_id: DepartmentId


class CommandEnvelope(BaseModel):
    """A CloudEvents 1.0 event in structured JSON mode; attributes that are not named here are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    specversion: Annotated[Literal["1.0"], Field(description="The version of CloudEvents.")]
    id: CommandId
    source: Annotated[str, Field(min_length=1, max_length=128, description="Who sends.", examples=["portal/web"])]
    type: Annotated[str, COMMAND_TYPE]
    time: Annotated[
        Attribute | None,
        LEFT_OUT,
        Field(
            description="Not looked at: the record's Kafka timestamp counts.", examples=["2026-11-23T08:15:00+05:30"]
        ),
    ] = None
    traceparent: Annotated[Traceparent | None, LEFT_OUT] = None
    correlationid: Annotated[CorrelationId | None, LEFT_OUT] = None
    data: DepartmentData


Weekdays = Annotated[
    list[Weekday],
    Field(
        min_length=1,
        fail_fast=True,
        description="The days it is worked on, none twice; left out: every day.",
        examples=[["MON", "WED"]],
        json_schema_extra={"uniqueItems": True},
    ),
]


class ScheduleEntry(Part):
    """One slot of a doctor's week."""

    slot: Slot
    capacity: Capacity
    weekdays: Annotated[Weekdays | None, LEFT_OUT] = None


def _one_entry_a_slot_and_weekday(schedule: list[ScheduleEntry]) -> list[ScheduleEntry]:
    worked: set[tuple[str, Weekday]] = set()
    for entry in schedule:
        for weekday in entry.weekdays or Weekday:  # this finds a weekday that stands twice in one entry, too
            if (entry.slot, weekday) in worked:
                raise ValueError("a slot stands twice for one weekday")
            worked.add((entry.slot, weekday))
    return schedule


Schedule = Annotated[
    list[ScheduleEntry],
    Field(
        fail_fast=True,
        description="The slots worked; may be empty. One slot may stand several times, never twice for one weekday.",
    ),
    AfterValidator(_one_entry_a_slot_and_weekday),
]


class RegisterDoctorData(DepartmentData):
    """A doctor and the week they work, new or replacing the old one as a whole (R16)."""

    doctor_id: DoctorId
    name: Annotated[Text, Field(description="As it is shown.", examples=["Dr Rao"])]
    schedule: Schedule


class RegisterDoctor(CommandEnvelope):
    """Registers a doctor, or replaces their schedule (R16)."""

    type: Annotated[Literal["opd.RegisterDoctor.v1"], COMMAND_TYPE]
    data: RegisterDoctorData


class RequestTokenData(DepartmentData):
    """A patient's wish for a place in a pool (R4-R7)."""

    date: Date
    slot: Slot
    patient_id: PatientId
    source: Annotated[Source, Field(examples=["ONLINE"])]
    doctor_id: Annotated[DoctorId | None, LEFT_OUT, Field(description="Pinned: only this doctor will do.")] = None


class RequestToken(CommandEnvelope):
    """Asks for a token (R4-R7), or raises the one held to an emergency (R4a)."""

    type: Annotated[Literal["opd.RequestToken.v1"], COMMAND_TYPE]
    data: RequestTokenData


class CancelTokenData(DepartmentData):
    """The token given back."""

    token_id: TokenId
    reason: Annotated[Reason | None, LEFT_OUT] = None


class CancelToken(CommandEnvelope):
    """Gives a token back (R11)."""

    type: Annotated[Literal["opd.CancelToken.v1"], COMMAND_TYPE]
    data: CancelTokenData


class TokenData(DepartmentData):
    """The token meant."""

    token_id: TokenId


class MarkNoShow(CommandEnvelope):
    """Says that the patient did not come (R12)."""

    type: Annotated[Literal["opd.MarkNoShow.v1"], COMMAND_TYPE]
    data: TokenData


class CheckIn(CommandEnvelope):
    """Says that the patient is there (R13)."""

    type: Annotated[Literal["opd.CheckIn.v1"], COMMAND_TYPE]
    data: TokenData


class CompleteConsultation(CommandEnvelope):
    """Says that the consultation is over (R15)."""

    type: Annotated[Literal["opd.CompleteConsultation.v1"], COMMAND_TYPE]
    data: TokenData


class SessionData(DepartmentData):
    """The session meant: one doctor in one slot on one date."""

    doctor_id: DoctorId
    date: Date
    slot: Slot


class CallNext(CommandEnvelope):
    """Calls the session's next patient who is there (R14)."""

    type: Annotated[Literal["opd.CallNext.v1"], COMMAND_TYPE]
    data: SessionData


class SetSlotCapacityData(SessionData):
    """The session's seats on that one date."""

    capacity: Capacity


class SetSlotCapacity(CommandEnvelope):
    """Sets a session's capacity on one date (R17)."""

    type: Annotated[Literal["opd.SetSlotCapacity.v1"], COMMAND_TYPE]
    data: SetSlotCapacityData


class SetDoctorAvailabilityData(DepartmentData):
    """Whether the doctor is there, in one slot or on the whole day."""

    doctor_id: DoctorId
    date: Date
    slot: Annotated[Slot | None, LEFT_OUT, Field(description="Left out: all that doctor's slots that day.")] = None
    available: Available
    reason: Annotated[Reason | None, LEFT_OUT] = None


class SetDoctorAvailability(CommandEnvelope):
    """Says that a doctor is away, or back (R18)."""

    type: Annotated[Literal["opd.SetDoctorAvailability.v1"], COMMAND_TYPE]
    data: SetDoctorAvailabilityData


class PoolData(DepartmentData):
    """The pool meant."""

    date: Date
    slot: Slot


class CloseSlot(CommandEnvelope):
    """Closes a pool: nothing more is granted in it (R19)."""

    type: Annotated[Literal["opd.CloseSlot.v1"], COMMAND_TYPE]
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
COMMANDS: tuple[type[Command], ...] = get_args(Command)
ANY_COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="type")])
