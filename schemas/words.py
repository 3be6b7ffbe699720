"""The field's words as types: ids, slots, dates, classes and statuses, with the limits of spec §1 and §2."""

from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema

MAX_RECORD_BYTES = 16 * 1024
LAST_TIMESTAMP_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


class Source(StrEnum):
    """How the patient came: the priority class, highest first."""

    EMERGENCY = "EMERGENCY"
    PAID = "PAID"
    FOLLOW_UP = "FOLLOW_UP"
    ONLINE = "ONLINE"
    WALK_IN = "WALK_IN"

    @property
    def priority(self) -> int:
        """The class as a number, 1 (EMERGENCY) to 5 (WALK_IN): the lower comes first."""
        return _PRIORITY[self]


_PRIORITY = {source: number for number, source in enumerate(Source, start=1)}


class Status(StrEnum):
    """Where a token stands."""

    WAITLISTED = "WAITLISTED"
    CONFIRMED = "CONFIRMED"
    CHECKED_IN = "CHECKED_IN"
    CALLED = "CALLED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    NO_SHOW = "NO_SHOW"
    EXPIRED = "EXPIRED"


class RejectionReason(StrEnum):
    """Why a readable command was refused (spec §3)."""

    DUPLICATE_COMMAND = "DUPLICATE_COMMAND"
    ID_REUSED = "ID_REUSED"
    DATE_IN_PAST = "DATE_IN_PAST"
    DATE_TOO_FAR = "DATE_TOO_FAR"
    DEPARTMENT_UNKNOWN = "DEPARTMENT_UNKNOWN"
    SLOT_UNKNOWN = "SLOT_UNKNOWN"
    SLOT_CLOSED = "SLOT_CLOSED"
    DOCTOR_UNKNOWN = "DOCTOR_UNKNOWN"
    DUPLICATE_PATIENT = "DUPLICATE_PATIENT"
    WAITLIST_FULL = "WAITLIST_FULL"
    TOKEN_UNKNOWN = "TOKEN_UNKNOWN"  # noqa: S105  a reason, not a secret
    INVALID_TRANSITION = "INVALID_TRANSITION"
    QUEUE_EMPTY = "QUEUE_EMPTY"
    DEPARTMENT_FULL = "DEPARTMENT_FULL"


class PreemptionReason(StrEnum):
    """Why a token lost its seat and waits again."""

    EMERGENCY = "EMERGENCY"
    DOCTOR_UNAVAILABLE = "DOCTOR_UNAVAILABLE"


class PromotionReason(StrEnum):
    """What made the seat free that a waiting token got (R9), or UPGRADED: the token itself was raised (R4a)."""

    CANCELLATION = "CANCELLATION"
    NO_SHOW = "NO_SHOW"
    CAPACITY_RAISED = "CAPACITY_RAISED"
    DOCTOR_AVAILABLE = "DOCTOR_AVAILABLE"
    DOCTOR_REGISTERED = "DOCTOR_REGISTERED"
    UPGRADED = "UPGRADED"


class ReassignmentReason(StrEnum):
    """Why a token's seat is now with another doctor."""

    DOCTOR_UNAVAILABLE = "DOCTOR_UNAVAILABLE"
    EMERGENCY = "EMERGENCY"


class Weekday(StrEnum):
    """A day of the week, Monday first."""

    MON = "MON"
    TUE = "TUE"
    WED = "WED"
    THU = "THU"
    FRI = "FRI"
    SAT = "SAT"
    SUN = "SUN"


class Part(BaseModel):
    """A piece of a message: strict types, no unknown field, never changed."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LeftOut:
    """Marks an optional field `T | None` that a sender leaves out instead of writing null (spec §2)."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept `T` alone: null is no value of the wire."""
        return handler.generate_schema(next(kind for kind in get_args(source) if kind is not type(None)))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe `T` alone."""
        return handler(schema)


LEFT_OUT = LeftOut()


# Both are asked about the same few days and slots all day long; what they refuse is not remembered.
@lru_cache(maxsize=4096)
def _real_date(text: str) -> str:
    date.fromisoformat(text)
    return text


@lru_cache(maxsize=4096)
def _starts_before_it_ends(text: str) -> str:
    if text[:5] >= text[6:]:
        raise ValueError("a slot starts before it ends")
    return text


FacilityId = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$", description="The hospital.", examples=["blr1"])]
DepartmentId = Annotated[
    str, Field(pattern=r"^[a-z0-9-]{1,32}$", description="The department in it.", examples=["cardiology"])
]
DoctorId = Annotated[
    str, Field(pattern=r"^[a-z0-9-]{1,32}$", description="A doctor of the department.", examples=["dr-rao"])
]
PatientId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description="Opaque to the engine: it stands in `data` alone, never in a key, a header or a log.",
        examples=["p-7f3a9c"],
    ),
]
TokenId = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9.-]{1,128}$",
        description="{facility_id}.{department_id}.{yyyymmdd}.{token_no}, compared as a whole.",
        examples=["blr1.cardiology.20261123.17"],
    ),
]
Date = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        description="A day of the calendar, yyyy-mm-dd.",
        examples=["2026-11-23"],
        json_schema_extra={"format": "date"},
    ),
    AfterValidator(_real_date),
]
Slot = Annotated[
    str,
    Field(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
        description="A time window of a day, HH:MM-HH:MM: it starts before it ends, at 24:00 at the latest.",
        examples=["09:00-10:00"],
    ),
    AfterValidator(_starts_before_it_ends),
]
Capacity = Annotated[
    int, Field(ge=0, le=500, description="Seats of a session, written as an integer: 3.0 is none.", examples=[12])
]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Attribute = Annotated[str, Field(min_length=1, max_length=256)]
CommandId = Annotated[
    str, Field(min_length=1, max_length=64, description="The sender's idempotency key (R2).", examples=["web-81723"])
]
CorrelationId = Annotated[Attribute, Field(description="Handed on to the events.", examples=["visit-5512"])]
Traceparent = Annotated[
    Attribute,
    Field(
        description="W3C trace context, handed on to the events.",
        examples=["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    ),
]
Reason = Annotated[Text, Field(description="Why, in the sender's words.", examples=["travelling"])]
Available = Annotated[bool, Field(description="False: away; true: back.", examples=[False])]
