"""Another reader of commands: Python's own json and the contract's words, sharing nothing with `schemas`."""

import json
import re
from collections.abc import Callable
from datetime import date
from typing import Any, NoReturn

Check = Callable[[Any], bool]


class Pairs(list[tuple[str, Any]]):
    """A JSON object as it stands in the text, with names that stand twice."""


def is_readable(key: bytes | None, value: bytes | None, timestamp_ms: int) -> bool:
    """R1, without the partition."""
    if value is None or len(value) > 16_384 or not 0 <= timestamp_ms <= 253_402_300_799_999:
        return False
    try:
        document = _read_json(value)
    except (ValueError, RecursionError):
        return False
    return _is_command(document) and key == "{facility_id}/{department_id}".format_map(document["data"]).encode()


def _read_json(value: bytes) -> Any:
    document = json.loads(
        value.decode(), object_pairs_hook=Pairs, parse_constant=_refuse_constant, parse_int=_read_integer
    )
    _refuse_bad_parts(document, depth=0)
    return _last_of_each_name(document)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _read_integer(digits: str) -> int:
    number = int(digits)
    if number.bit_length() > 63 and number != -(2**63):
        raise ValueError("wide")
    return number


def _refuse_bad_parts(part: Any, depth: int) -> None:
    if isinstance(part, str) and any(c == "\0" or 0xD800 <= ord(c) < 0xE000 for c in part):
        raise ValueError("character")
    if isinstance(part, list):
        if depth == 32:
            raise ValueError("deep")
        for item in part:
            _refuse_bad_parts(item, depth + (not isinstance(item, tuple)))
    if isinstance(part, tuple):
        for item in part:
            _refuse_bad_parts(item, depth + 1)


def _last_of_each_name(part: Any) -> Any:
    if isinstance(part, Pairs):
        return {name: _last_of_each_name(item) for name, item in part}
    if isinstance(part, list):
        return [_last_of_each_name(item) for item in part]
    return part


def _matches(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None


def _text(longest: int) -> Check:
    return lambda value: isinstance(value, str) and 1 <= len(value) <= longest


def _one_of(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


def _is_date(value: Any) -> bool:
    if not _matches(r"\d{4}-\d\d-\d\d")(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_slot(value: Any) -> bool:
    if not _matches(r"\d\d:\d\d-\d\d:\d\d")(value):
        return False
    (h1, m1), (h2, m2) = ((int(time[:2]), int(time[3:])) for time in value.split("-"))
    start, end = h1 * 60 + m1, h2 * 60 + m2
    return bool(m1 < 60 and m2 < 60 and start < end <= 24 * 60)


def _is_capacity(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 500


_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


def _is_schedule(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    worked = []
    for entry in value:
        if not _has_fields(entry, {"slot": _is_slot, "capacity": _is_capacity}, {"weekdays": _is_weekdays}):
            return False
        worked += [(entry["slot"], weekday) for weekday in entry.get("weekdays", _WEEKDAYS)]
    return len(worked) == len(set(worked))


def _is_weekdays(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(_one_of(*_WEEKDAYS)(weekday) for weekday in value)
        and len(value) == len(set(value))
    )


def _has_fields(value: Any, required: dict[str, Check], optional: dict[str, Check]) -> bool:
    return (
        isinstance(value, dict)
        and required.keys() <= value.keys() <= required.keys() | optional.keys()
        and all((required | optional)[name](item) for name, item in value.items())
    )


_ID = _matches(r"[a-z0-9-]{1,32}")
_DEPARTMENT: dict[str, Check] = {"facility_id": _ID, "department_id": _ID}
_TOKEN: dict[str, Check] = {"token_id": _matches(r"[a-z0-9.-]{1,128}")}
_POOL: dict[str, Check] = {"date": _is_date, "slot": _is_slot}
_DOCTOR: dict[str, Check] = {"doctor_id": _ID}
_REASON: dict[str, Check] = {"reason": _text(200)}
_FIELDS: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
    "opd.RegisterDoctor.v1": (_DOCTOR | {"name": _text(200), "schedule": _is_schedule}, {}),
    "opd.RequestToken.v1": (
        _POOL | {"patient_id": _text(64), "source": _one_of("EMERGENCY", "PAID", "FOLLOW_UP", "ONLINE", "WALK_IN")},
        _DOCTOR,
    ),
    "opd.CancelToken.v1": (_TOKEN, _REASON),
    "opd.MarkNoShow.v1": (_TOKEN, {}),
    "opd.CheckIn.v1": (_TOKEN, {}),
    "opd.CompleteConsultation.v1": (_TOKEN, {}),
    "opd.CallNext.v1": (_DOCTOR | _POOL, {}),
    "opd.SetSlotCapacity.v1": (_DOCTOR | _POOL | {"capacity": _is_capacity}, {}),
    "opd.SetDoctorAvailability.v1": (
        _DOCTOR | {"date": _is_date, "available": lambda value: isinstance(value, bool)},
        {"slot": _is_slot} | _REASON,
    ),
    "opd.CloseSlot.v1": (_POOL, {}),
}
_ENVELOPE = {"id": _text(64), "source": _text(128)}
_OPTIONAL_ATTRIBUTES = {name: _text(256) for name in ("time", "traceparent", "correlationid")}


def _is_command(document: Any) -> bool:
    if not isinstance(document, dict) or document.get("specversion") != "1.0":
        return False
    kind = document.get("type")
    if not isinstance(kind, str) or kind not in _FIELDS:
        return False
    required, optional = _FIELDS[kind]
    return (
        all(name in document and check(document[name]) for name, check in _ENVELOPE.items())
        and all(check(document[name]) for name, check in _OPTIONAL_ATTRIBUTES.items() if name in document)
        and _has_fields(document.get("data"), _DEPARTMENT | required, optional)
    )
