"""What the engine says (spec §2): an event as it is decided, and all events as they stand in a record."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from schemas.commands import DepartmentData, PoolData, RegisterDoctorData, SetSlotCapacityData
from schemas.faults import faults
from schemas.words import (
    LEFT_OUT,
    Available,
    CommandId,
    CorrelationId,
    Date,
    DoctorId,
    PatientId,
    PreemptionReason,
    PromotionReason,
    Reason,
    ReassignmentReason,
    RejectionReason,
    Slot,
    Source,
    Status,
    TokenId,
    Traceparent,
)


class Event(NamedTuple):
    """One thing that a command caused, before it stands in a record.

    Attributes:
        type: `TokenConfirmed`, …
        sequence: the department's running event number, from 1.
        data: the fields of the contract, in its order.
    """

    type: str
    sequence: int
    data: dict[str, Any]


class WrittenEvent(Struct, frozen=True, gc=False):
    """The same as the slot store gives it: its data are written already.

    Attributes:
        type: `TokenConfirmed`, …
        sequence: the department's running event number, from 1.
        token_id: of the data, None where there is none.
        data: JSON as it stands in the record.
        reason: why, if it is a `CommandRejected`.
    """

    type: str
    sequence: int
    token_id: str | None
    data: str
    reason: str = ""


class UnreadableEvent(ValueError):  # noqa: N818  the twin of UnreadableRecord
    """A record of the events topic is no event of this contract. The message names fields and faults, never a value."""


EVENT_TYPE = Field(description="What happened.")
_TIME_LENGTH = len("2026-11-23T02:45:00.000Z")


class EventEnvelope(BaseModel):
    """A CloudEvents 1.0 event in structured JSON mode; attributes that are not named here are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    specversion: Annotated[Literal["1.0"], Field(description="The version of CloudEvents.")]
    id: Annotated[
        str,
        Field(
            pattern=r"^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$",
            description="{partition}-{offset} of the command's record, and -{n}: the n-th event it caused, from 0.",
            examples=["3-1207-0"],
        ),
    ]
    source: Annotated[Literal["opd/allocator"], Field(description="Who says it.")]
    type: Annotated[str, EVENT_TYPE]
    time: Annotated[
        str,
        Field(
            pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
            description="The command record's Kafka timestamp, RFC 3339 in UTC with milliseconds.",
            examples=["2026-11-23T02:45:00.000Z"],
            json_schema_extra={"format": "date-time"},
        ),
    ]
    subject: Annotated[TokenId | None, LEFT_OUT, Field(description="The data's token_id, where there is one.")] = None
    sequence: Annotated[
        str,
        Field(
            pattern=r"^[0-9]{16}$",
            description="The department's running event number, from 1, without gaps; padded to sort as text.",
            examples=["0000000000000042"],
        ),
    ]
    causationid: Annotated[CommandId, Field(description="The id of the command that caused it.")]
    correlationid: Annotated[CorrelationId | None, LEFT_OUT, Field(description="As the command had it.")] = None
    traceparent: Annotated[Traceparent | None, LEFT_OUT, Field(description="As the command had it.")] = None
    data: DepartmentData

    @model_validator(mode="after")
    def _subject_is_the_token(self) -> Self:
        if self.subject != getattr(self.data, "token_id", None):
            raise ValueError("subject is not the data's token_id")
        return self


STATUS = Field(description="Where the token stands now.")
WITH_DOCTOR = Field(description="Who the token's seat is with.")
WITHOUT_DOCTOR = Field(description="Null: it waits, or waited until now.")
WITH_OR_WITHOUT_DOCTOR = Field(
    description="Who the token's seat is or was with; null if it waits, or waited until now."
)
BY_TOKEN_ID = Field(
    description="The emergency that it gave way to; left out with any other reason.",
    examples=["blr1.cardiology.20261123.23"],
)


class TokenEventData(DepartmentData):
    """A token as it stands after the event."""

    date: Date
    slot: Slot
    token_id: TokenId
    token_no: Annotated[
        int, Field(ge=1, description="Running number per department and date, never reused (§1).", examples=[17])
    ]
    patient_id: PatientId
    source: Annotated[Source, Field(examples=["ONLINE"])]
    status: Annotated[Status, STATUS]
    doctor_id: Annotated[DoctorId | None, WITH_OR_WITHOUT_DOCTOR]


class TokenEvent(EventEnvelope):
    """An event of one token, which is its subject."""

    subject: Annotated[TokenId, Field(description="The data's token_id.")]
    data: TokenEventData


def _without_subject(schema: dict[str, Any]) -> None:
    del schema["properties"]["subject"]


class DepartmentEvent(EventEnvelope):
    """An event of no one token: it has no subject."""

    model_config = ConfigDict(json_schema_extra=_without_subject)


def _refuse_unless_emergency_names_its_token(reason: str, by_token_id: str | None) -> None:
    if (reason == "EMERGENCY") != (by_token_id is not None):
        raise ValueError("by_token_id stands with the reason EMERGENCY and with no other")


class TokenConfirmedData(TokenEventData):
    """The token has a seat."""

    status: Annotated[Literal[Status.CONFIRMED], STATUS]
    doctor_id: Annotated[DoctorId, WITH_DOCTOR]


class TokenConfirmed(TokenEvent):
    """A request got a seat at once (R5, R6)."""

    type: Annotated[Literal["opd.TokenConfirmed.v1"], EVENT_TYPE]
    data: TokenConfirmedData


Position = Annotated[int, Field(ge=1, description="Place in the pool's waitlist, 1 = next (R8).", examples=[3])]


class TokenWaitlistedData(TokenEventData):
    """The token waits, and where."""

    status: Annotated[Literal[Status.WAITLISTED], STATUS]
    doctor_id: Annotated[None, WITHOUT_DOCTOR]
    position: Position


class TokenWaitlisted(TokenEvent):
    """A request found no seat and waits (R7)."""

    type: Annotated[Literal["opd.TokenWaitlisted.v1"], EVENT_TYPE]
    data: TokenWaitlistedData


class TokenPreemptedData(TokenEventData):
    """The token waits again, and whose seat it lost why."""

    status: Annotated[Literal[Status.WAITLISTED], STATUS]
    doctor_id: Annotated[None, WITHOUT_DOCTOR]
    position: Position
    lost_doctor_id: Annotated[DoctorId, Field(description="Who the lost seat was with.")]
    reason: PreemptionReason
    by_token_id: Annotated[TokenId | None, LEFT_OUT, BY_TOKEN_ID] = None

    @model_validator(mode="after")
    def _emergency_names_its_token(self) -> Self:
        _refuse_unless_emergency_names_its_token(self.reason, self.by_token_id)
        return self


class TokenPreempted(TokenEvent):
    """A token lost its seat and waits again, with its own arrival (R6, R18)."""

    type: Annotated[Literal["opd.TokenPreempted.v1"], EVENT_TYPE]
    data: TokenPreemptedData


class TokenPromotedData(TokenEventData):
    """The token has a seat, and why now."""

    status: Annotated[Literal[Status.CONFIRMED, Status.CHECKED_IN], STATUS]
    doctor_id: Annotated[DoctorId, WITH_DOCTOR]
    reason: PromotionReason


class TokenPromoted(TokenEvent):
    """A waiting token got a seat (R9, R4a)."""

    type: Annotated[Literal["opd.TokenPromoted.v1"], EVENT_TYPE]
    data: TokenPromotedData


class TokenReassignedData(TokenEventData):
    """The token's seat is with another doctor, and why."""

    status: Annotated[Literal[Status.CONFIRMED, Status.CHECKED_IN], STATUS]
    doctor_id: Annotated[DoctorId, WITH_DOCTOR]
    from_doctor_id: Annotated[DoctorId, Field(description="Who the seat was with.", examples=["dr-iyer"])]
    reason: Annotated[ReassignmentReason, Field(examples=["EMERGENCY"])]
    by_token_id: Annotated[TokenId | None, LEFT_OUT, BY_TOKEN_ID] = None

    @model_validator(mode="after")
    def _emergency_names_its_token(self) -> Self:
        _refuse_unless_emergency_names_its_token(self.reason, self.by_token_id)
        return self


class TokenReassigned(TokenEvent):
    """A token's seat moved to another doctor of the pool (R6, R18)."""

    type: Annotated[Literal["opd.TokenReassigned.v1"], EVENT_TYPE]
    data: TokenReassignedData


class TokenUpgradedData(TokenEventData):
    """The token is an emergency's now, and of which class it was."""

    source: Annotated[Literal[Source.EMERGENCY], Field(description="The class that it has now.")]
    status: Annotated[Literal[Status.WAITLISTED, Status.CONFIRMED, Status.CHECKED_IN, Status.CALLED], STATUS]
    doctor_id: Annotated[DoctorId | None, WITH_OR_WITHOUT_DOCTOR]
    from_source: Annotated[Source, Field(description="The class that it had.", examples=["ONLINE"])]


class TokenUpgraded(TokenEvent):
    """The patient's emergency raised the token held (R4a)."""

    type: Annotated[Literal["opd.TokenUpgraded.v1"], EVENT_TYPE]
    data: TokenUpgradedData


class TokenCancelledData(TokenEventData):
    """The token was given back."""

    status: Annotated[Literal[Status.CANCELLED], STATUS]
    reason: Annotated[Reason | None, LEFT_OUT, Field(description="As the command gave it.")] = None


class TokenCancelled(TokenEvent):
    """A token was given back (R11)."""

    type: Annotated[Literal["opd.TokenCancelled.v1"], EVENT_TYPE]
    data: TokenCancelledData


class TokenNoShowData(TokenEventData):
    """The patient did not come."""

    status: Annotated[Literal[Status.NO_SHOW], STATUS]
    doctor_id: Annotated[DoctorId, Field(description="Who the seat was with.")]


class TokenNoShow(TokenEvent):
    """A patient did not come (R12)."""

    type: Annotated[Literal["opd.TokenNoShow.v1"], EVENT_TYPE]
    data: TokenNoShowData


class TokenCheckedInData(TokenEventData):
    """The patient is there, with a seat or still waiting for one."""

    status: Annotated[Literal[Status.CHECKED_IN, Status.WAITLISTED], STATUS]


class TokenCheckedIn(TokenEvent):
    """A patient is there (R13)."""

    type: Annotated[Literal["opd.TokenCheckedIn.v1"], EVENT_TYPE]
    data: TokenCheckedInData


class TokenCalledData(TokenEventData):
    """The patient is with the doctor."""

    status: Annotated[Literal[Status.CALLED], STATUS]
    doctor_id: Annotated[DoctorId, WITH_DOCTOR]


class TokenCalled(TokenEvent):
    """A patient was called (R14)."""

    type: Annotated[Literal["opd.TokenCalled.v1"], EVENT_TYPE]
    data: TokenCalledData


class TokenCompletedData(TokenEventData):
    """The consultation is over; the seat stays taken."""

    status: Annotated[Literal[Status.COMPLETED], STATUS]
    doctor_id: Annotated[DoctorId, WITH_DOCTOR]


class TokenCompleted(TokenEvent):
    """A consultation is over (R15), or the next patient was called (R14)."""

    type: Annotated[Literal["opd.TokenCompleted.v1"], EVENT_TYPE]
    data: TokenCompletedData


class TokenExpiredData(TokenEventData):
    """The token waited in vain."""

    status: Annotated[Literal[Status.EXPIRED], STATUS]
    doctor_id: Annotated[None, WITHOUT_DOCTOR]


class TokenExpired(TokenEvent):
    """The pool was closed while the token waited (R19)."""

    type: Annotated[Literal["opd.TokenExpired.v1"], EVENT_TYPE]
    data: TokenExpiredData


class DoctorRegistered(DepartmentEvent):
    """A doctor is known with this schedule from now on (R16)."""

    type: Annotated[Literal["opd.DoctorRegistered.v1"], EVENT_TYPE]
    data: RegisterDoctorData


class SlotCapacityChangedData(SetSlotCapacityData):
    """The session's seats now."""

    taken: Annotated[int, Field(ge=0, description="Seats taken.", examples=[13])]
    over_by: Annotated[int, Field(ge=0, description="max(0, taken - capacity).", examples=[1])]


class SlotCapacityChanged(DepartmentEvent):
    """A session has another capacity on one date (R17)."""

    type: Annotated[Literal["opd.SlotCapacityChanged.v1"], EVENT_TYPE]
    data: SlotCapacityChangedData


class DoctorAvailabilityChangedData(DepartmentData):
    """The session whose doctor is away, or back."""

    doctor_id: DoctorId
    date: Date
    slot: Slot
    available: Available
    reason: Annotated[Reason | None, LEFT_OUT, Field(description="As the command gave it.")] = None


class DoctorAvailabilityChanged(DepartmentEvent):
    """A doctor is away from a session, or back (R18); one event a slot."""

    type: Annotated[Literal["opd.DoctorAvailabilityChanged.v1"], EVENT_TYPE]
    data: DoctorAvailabilityChangedData


class SlotClosed(DepartmentEvent):
    """A pool grants nothing any more (R19)."""

    type: Annotated[Literal["opd.SlotClosed.v1"], EVENT_TYPE]
    data: PoolData


CommandType = Literal[
    "RegisterDoctor",
    "RequestToken",
    "CancelToken",
    "MarkNoShow",
    "CheckIn",
    "CompleteConsultation",
    "CallNext",
    "SetSlotCapacity",
    "SetDoctorAvailability",
    "CloseSlot",
]
_ALWAYS_NAMES_A_TOKEN = {RejectionReason.TOKEN_UNKNOWN, RejectionReason.INVALID_TRANSITION}
_MAY_NAME_A_TOKEN = {RejectionReason.DUPLICATE_COMMAND, RejectionReason.ID_REUSED, *_ALWAYS_NAMES_A_TOKEN}


class CommandRejectedData(DepartmentData):
    """What was refused, and why."""

    command_type: Annotated[CommandType, Field(description="What was asked.", examples=["CancelToken"])]
    reason: Annotated[RejectionReason, Field(examples=["INVALID_TRANSITION"])]
    token_id: Annotated[
        TokenId | None,
        LEFT_OUT,
        Field(
            description="With TOKEN_UNKNOWN and INVALID_TRANSITION the one that the command named; with "
            "DUPLICATE_COMMAND and ID_REUSED the one that the first command of that id issued or raised, if it was a "
            "RequestToken that did; else left out."
        ),
    ] = None

    @model_validator(mode="after")
    def _token_fits_reason(self) -> Self:
        if self.token_id is None and self.reason in _ALWAYS_NAMES_A_TOKEN:
            raise ValueError("this reason names a token")
        if self.token_id is not None and self.reason not in _MAY_NAME_A_TOKEN:
            raise ValueError("this reason names no token")
        return self


class CommandRejected(EventEnvelope):
    """A command was refused and changed nothing (§3)."""

    type: Annotated[Literal["opd.CommandRejected.v1"], EVENT_TYPE]
    data: CommandRejectedData


AnyEvent = (
    TokenConfirmed
    | TokenWaitlisted
    | TokenPreempted
    | TokenPromoted
    | TokenReassigned
    | TokenUpgraded
    | TokenCancelled
    | TokenNoShow
    | TokenCheckedIn
    | TokenCalled
    | TokenCompleted
    | TokenExpired
    | DoctorRegistered
    | SlotCapacityChanged
    | DoctorAvailabilityChanged
    | SlotClosed
    | CommandRejected
)
EVENTS: tuple[type[AnyEvent], ...] = get_args(AnyEvent)
ANY_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="type")])


def read_event(value: bytes) -> AnyEvent:
    """Read one record's value of the events topic.

    Envelope attributes that are not in the contract are ignored: CloudEvents lets brokers and proxies add some. An
    unknown field in `data` is refused, as in commands: what `v1` means is settled, a further field would be a `v2`, and
    a consumer that acts on half of what was said is worse off than one that stops.

    Raises:
        UnreadableEvent: it is no event of this contract; the text names no value, so it may be logged.
    """
    try:
        return ANY_EVENT.validate_json(value)
    except ValidationError as error:
        raise UnreadableEvent(faults(error)) from None


@lru_cache(maxsize=64)  # whoever looks at an event asks for it again
def place_of(event_id: str) -> tuple[int, int, int]:
    """Give the numbers of an event's id: partition and offset of its command, and which of the command's events it is.

    Raises:
        ValueError: it is none, or a number has thousands of digits.
    """
    partition, offset, n = map(int, event_id.split("-"))
    return partition, offset, n


@lru_cache(maxsize=1024)
def moment_of(time: str) -> datetime:
    """Give an event's time.

    Raises:
        ValueError: it is none: the pattern knows no calendar.
    """
    if len(time) != _TIME_LENGTH or (time[4:20:3], time[-1]) != ("--T::.", "Z"):
        raise ValueError("a time is written yyyy-mm-ddThh:mm:ss.sssZ")
    return datetime.fromisoformat(time)
