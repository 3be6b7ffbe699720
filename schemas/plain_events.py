"""A quick reader for plain events, which are nearly all: refusals, and tokens that neither lose a seat nor rise.

As `plain` stands beside `wire.read_command`, this one stands beside `events.read_event`, and takes a fraction of its
time. It gives the event, or nothing and never a reason. So it must be sound: *what it gives, the contract's reader
gives too, with the same values.* Why it is:

- It knows the contract's attributes and fields alone, in records without a backslash (see `plain`).
- Words that come again and again must be such as the contract's own types have found valid. A token's id must be what
  department, date and number make of it; an event's id must be its three numbers as Python writes them.
- Numbers of more than 32 bits (an offset's: 64) and times that are in no calendar are left to the contract's reader.

`tests/schemas/test_plain_events.py` holds the two readers against each other.
"""

from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta, Struct
from pydantic import TypeAdapter

from schemas.events import AnyEvent, CommandRejectedData, CommandType, moment_of, place_of
from schemas.plain import BACKSLASH, DATES, DOCTOR_IDS, SLOTS, Known
from schemas.words import DepartmentId, FacilityId, RejectionReason, TokenId

_MAX_INTEGER, _MAX_BIGINT = 2**31 - 1, 2**63 - 1

_FACILITY_IDS = Known[str, str](TypeAdapter(FacilityId).validate_python)
_DEPARTMENT_IDS = Known[str, str](TypeAdapter(DepartmentId).validate_python)
_TOKEN_IDS = Known[str, str](TypeAdapter(TokenId).validate_python)
_DAYS = Known[str, str](lambda date: DATES[date].replace("-", ""))  # as they stand in a token's id


def _may_stand(refusal: tuple[str, bool]) -> bool:
    """Say whether a reason may stand with a token's id, or without one; a ValueError says that it may not."""
    reason, names_a_token = refusal
    CommandRejectedData(
        facility_id="f",
        department_id="d",
        command_type="CancelToken",
        reason=RejectionReason(reason),
        **({"token_id": "t"} if names_a_token else {}),
    )
    return True


_MAY_STAND = Known[tuple[str, bool], bool](_may_stand)

_Id = Annotated[str, Meta(min_length=1, max_length=64)]
_Attribute = Annotated[str, Meta(min_length=1, max_length=256)]
_Text = Annotated[str, Meta(min_length=1, max_length=200)]
_Number = Annotated[int, Meta(ge=1, le=_MAX_INTEGER)]
_Source = Literal["EMERGENCY", "PAID", "FOLLOW_UP", "ONLINE", "WALK_IN"]
_LEFT_OUT: Any = None  # msgspec looks at no default: a null on the wire is refused, what is left out is None


class _PlainEvent(Struct, tag_field="type", forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    specversion: Literal["1.0"]
    id: str
    source: Literal["opd/allocator"]
    time: str
    subject: str = _LEFT_OUT
    sequence: Annotated[str, Meta(min_length=16, max_length=16)]
    causationid: _Id
    correlationid: _Attribute = _LEFT_OUT
    traceparent: _Attribute = _LEFT_OUT

    @property
    def type(self) -> str:
        """As it stands on the wire."""
        return cast("str", self.__struct_config__.tag)


class _TokenData(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    facility_id: str
    department_id: str
    date: str
    slot: str
    token_id: str
    token_no: _Number
    patient_id: _Id
    source: _Source
    status: str
    doctor_id: str | None

    def is_sound(self) -> bool:
        """Say whether the contract allows what stands in it; a ValueError says that it does not, too."""
        department = f"{_FACILITY_IDS[self.facility_id]}.{_DEPARTMENT_IDS[self.department_id]}"
        return (
            self.token_id == f"{department}.{_DAYS[self.date]}.{self.token_no}"
            and self.slot == SLOTS[self.slot]
            and (self.doctor_id is None or self.doctor_id == DOCTOR_IDS[self.doctor_id])
        )


class _ConfirmedData(_TokenData):
    status: Literal["CONFIRMED"]
    doctor_id: str


class TokenConfirmed(_PlainEvent, tag="opd.TokenConfirmed.v1"):
    """As `events.TokenConfirmed`."""

    data: _ConfirmedData


class _WaitlistedData(_TokenData):
    status: Literal["WAITLISTED"]
    doctor_id: None
    position: _Number


class TokenWaitlisted(_PlainEvent, tag="opd.TokenWaitlisted.v1"):
    """As `events.TokenWaitlisted`."""

    data: _WaitlistedData


class _PromotedData(_TokenData):
    status: Literal["CONFIRMED", "CHECKED_IN"]
    doctor_id: str
    reason: Literal["CANCELLATION", "NO_SHOW", "CAPACITY_RAISED", "DOCTOR_AVAILABLE", "DOCTOR_REGISTERED", "UPGRADED"]


class TokenPromoted(_PlainEvent, tag="opd.TokenPromoted.v1"):
    """As `events.TokenPromoted`."""

    data: _PromotedData


class _CancelledData(_TokenData):
    status: Literal["CANCELLED"]
    reason: _Text = _LEFT_OUT


class TokenCancelled(_PlainEvent, tag="opd.TokenCancelled.v1"):
    """As `events.TokenCancelled`."""

    data: _CancelledData


class _NoShowData(_TokenData):
    status: Literal["NO_SHOW"]
    doctor_id: str


class TokenNoShow(_PlainEvent, tag="opd.TokenNoShow.v1"):
    """As `events.TokenNoShow`."""

    data: _NoShowData


class _CheckedInData(_TokenData):
    status: Literal["CHECKED_IN", "WAITLISTED"]


class TokenCheckedIn(_PlainEvent, tag="opd.TokenCheckedIn.v1"):
    """As `events.TokenCheckedIn`."""

    data: _CheckedInData


class _CalledData(_TokenData):
    status: Literal["CALLED"]
    doctor_id: str


class TokenCalled(_PlainEvent, tag="opd.TokenCalled.v1"):
    """As `events.TokenCalled`."""

    data: _CalledData


class _CompletedData(_TokenData):
    status: Literal["COMPLETED"]
    doctor_id: str


class TokenCompleted(_PlainEvent, tag="opd.TokenCompleted.v1"):
    """As `events.TokenCompleted`."""

    data: _CompletedData


class _ExpiredData(_TokenData):
    status: Literal["EXPIRED"]
    doctor_id: None


class TokenExpired(_PlainEvent, tag="opd.TokenExpired.v1"):
    """As `events.TokenExpired`."""

    data: _ExpiredData


class _RejectedData(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    facility_id: str
    department_id: str
    command_type: CommandType
    reason: str
    token_id: str = _LEFT_OUT

    def is_sound(self) -> bool:
        """Likewise."""
        return (
            self.facility_id == _FACILITY_IDS[self.facility_id]
            and self.department_id == _DEPARTMENT_IDS[self.department_id]
            and (self.token_id is None or self.token_id == _TOKEN_IDS[self.token_id])
            and _MAY_STAND[self.reason, self.token_id is not None]
        )


class CommandRejected(_PlainEvent, tag="opd.CommandRejected.v1"):
    """As `events.CommandRejected`."""

    data: _RejectedData


_decode = msgspec.json.Decoder(
    TokenConfirmed
    | TokenWaitlisted
    | TokenPromoted
    | TokenCancelled
    | TokenNoShow
    | TokenCheckedIn
    | TokenCalled
    | TokenCompleted
    | TokenExpired
    | CommandRejected
).decode


def read_plain_event(value: bytes) -> AnyEvent | None:
    """Read one record's value of the events topic if it is plain, with the checks of `read_event`; else give None.

    What is given is no model, but has the same attributes.
    """
    if BACKSLASH in value:
        return None
    try:
        event = _decode(value)
        is_sound = _is_sound(event)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return cast("AnyEvent", event) if is_sound else None


def _is_sound(event: Any) -> bool:
    sequence = event.sequence
    partition, offset, n = place_of(event.id)
    moment_of(event.time)
    return (
        event.id == f"{partition}-{offset}-{n}"
        and partition <= _MAX_INTEGER
        and offset <= _MAX_BIGINT
        and n <= _MAX_INTEGER
        and sequence.isdecimal()
        and sequence.isascii()
        and event.subject == event.data.token_id
        and event.data.is_sound()
    )
