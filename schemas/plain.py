"""A quick reader of plain commands, which are nearly all: it gives the command, or nothing and never a reason.

`wire.read_command` with its pydantic models is the contract, and says what is no command and why. A record that is
plain is read here in a sixth of that time; any other is left to that reader. So this one need not be complete, but it
must be sound: *what it gives, the contract's reader gives too, with the same values.* Why it is:

- It knows the commands that hold nothing but texts. An attribute or a field that it does not know, a number, a null or
  a list makes a record not plain: nothing is passed over unseen, no number needs a limit, nothing nests.
- Nor is a record plain that has a backslash. So every name and every text stands in it as it is: no U+0000 and no lone
  surrogate. What JSON wants escaped, and what is no UTF-8, msgspec refuses as pydantic does.
- Of a name given twice the last counts in both readers; here the earlier ones must be valid too.
- Lengths are code points in both. Ids, slots and dates must be such as the contract's own types have found valid.

`tests/schemas/test_plain.py` holds the two readers against each other.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct
from pydantic import TypeAdapter

from schemas.commands import Command
from schemas.words import LAST_TIMESTAMP_MS, MAX_RECORD_BYTES, Date, DepartmentId, DoctorId, FacilityId, Slot, Source

Word = TypeVar("Word")
Meaning = TypeVar("Meaning")

_MOST_KNOWN = 10_000
BACKSLASH = ord("\\")  # as a number it is looked for ten times faster


class Known(dict[Word, Meaning]):
    """What was found out about words that come again and again; forgotten when there are too many."""

    def __init__(self, find_out: Callable[[Word], Meaning]) -> None:
        self._find_out = find_out

    def __missing__(self, word: Word) -> Meaning:
        meaning = self._find_out(word)
        if len(self) >= _MOST_KNOWN:
            self.clear()
        self[word] = meaning
        return meaning


def _read_key(key: bytes) -> tuple[str, str]:
    facility_id, _, department_id = key.decode().partition("/")
    return TypeAdapter(FacilityId).validate_python(facility_id), TypeAdapter(DepartmentId).validate_python(
        department_id
    )


# The words themselves: what stands in a command is then the text that was seen first, whose hash is known.
DATES = Known[str, str](TypeAdapter(Date).validate_python)
SLOTS = Known[str, str](TypeAdapter(Slot).validate_python)
DOCTOR_IDS = Known[str, str](TypeAdapter(DoctorId).validate_python)
_SOURCES = Known[str, str](lambda word: Source(word).value)
_DEPARTMENTS = Known[bytes, tuple[str, str]](_read_key)

_Id = Annotated[str, Meta(min_length=1, max_length=64)]
_Sender = Annotated[str, Meta(min_length=1, max_length=128)]
_Attribute = Annotated[str, Meta(min_length=1, max_length=256)]
_Reason = Annotated[str, Meta(min_length=1, max_length=200)]
_TokenId = Annotated[str, Meta(pattern=r"^[a-z0-9.-]{1,128}\Z")]
_LEFT_OUT: Any = None  # msgspec looks at no default: a null on the wire is refused, what is left out is None


class _Envelope(Struct, tag_field="type", forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    specversion: Literal["1.0"]
    id: _Id
    source: _Sender
    time: _Attribute = _LEFT_OUT
    traceparent: _Attribute = _LEFT_OUT
    correlationid: _Attribute = _LEFT_OUT


class _DepartmentData(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    facility_id: str
    department_id: str


class _RequestTokenData(_DepartmentData):
    date: str
    slot: str
    patient_id: _Id
    source: str
    doctor_id: str = _LEFT_OUT

    def __post_init__(self) -> None:
        self.date, self.slot, self.source = DATES[self.date], SLOTS[self.slot], _SOURCES[self.source]
        if self.doctor_id is not None:
            self.doctor_id = DOCTOR_IDS[self.doctor_id]


class RequestToken(_Envelope, tag="opd.RequestToken.v1"):
    """As `commands.RequestToken`."""

    data: _RequestTokenData


class _CancelTokenData(_DepartmentData):
    token_id: _TokenId
    reason: _Reason = _LEFT_OUT


class CancelToken(_Envelope, tag="opd.CancelToken.v1"):
    """As `commands.CancelToken`."""

    data: _CancelTokenData


class _TokenData(_DepartmentData):
    token_id: _TokenId


class MarkNoShow(_Envelope, tag="opd.MarkNoShow.v1"):
    """As `commands.MarkNoShow`."""

    data: _TokenData


class CheckIn(_Envelope, tag="opd.CheckIn.v1"):
    """As `commands.CheckIn`."""

    data: _TokenData


class CompleteConsultation(_Envelope, tag="opd.CompleteConsultation.v1"):
    """As `commands.CompleteConsultation`."""

    data: _TokenData


class _SessionData(_DepartmentData):
    doctor_id: str
    date: str
    slot: str

    def __post_init__(self) -> None:
        self.doctor_id, self.date, self.slot = DOCTOR_IDS[self.doctor_id], DATES[self.date], SLOTS[self.slot]


class CallNext(_Envelope, tag="opd.CallNext.v1"):
    """As `commands.CallNext`."""

    data: _SessionData


class _PoolData(_DepartmentData):
    date: str
    slot: str

    def __post_init__(self) -> None:
        self.date, self.slot = DATES[self.date], SLOTS[self.slot]


class CloseSlot(_Envelope, tag="opd.CloseSlot.v1"):
    """As `commands.CloseSlot`."""

    data: _PoolData


PlainCommand: TypeAlias = (
    RequestToken | CancelToken | MarkNoShow | CheckIn | CompleteConsultation | CallNext | CloseSlot
)
AnyCommand: TypeAlias = Command | PlainCommand

_decode = msgspec.json.Decoder(PlainCommand).decode


def read_plain_command(key: bytes, value: bytes, timestamp_ms: int) -> PlainCommand | None:
    """Read one record of the commands topic if it is plain, with the checks of `wire.read_command`; else give None."""
    if BACKSLASH in value or len(value) > MAX_RECORD_BYTES or not 0 <= timestamp_ms <= LAST_TIMESTAMP_MS:
        return None
    try:
        command = _decode(value)
        data = command.data
        is_under_its_key = _DEPARTMENTS[key] == (data.facility_id, data.department_id)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return command if is_under_its_key else None
