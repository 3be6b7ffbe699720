"""How messages stand in a record: JSON in by R1's rules, JSON out to the byte (spec §2)."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import to_json

from schemas.commands import ANY_COMMAND, Command, CommandEnvelope

MAX_RECORD_BYTES = 16 * 1024
MAX_NESTING = 32
LAST_TIMESTAMP_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
CONTENT_TYPE = ("content-type", b"application/cloudevents+json")

# pydantic's own reader is laxer than R1 only about these; a record that has none of them needs no second look.
_NEEDS_A_SECOND_LOOK = re.compile(rb"\\u|NaN|Infinity|[0-9]{19}")


class UnreadableRecord(ValueError):  # noqa: N818  it is the contract's word
    """R1: the record is no command. The message names fields and faults, never a value: it becomes a header."""


def read_command(key: bytes | None, value: bytes | None, timestamp_ms: int) -> Command:
    """Read one record of the commands topic.

    Gives the command, checked against the schema and against its own key. Whether it stands in its key's
    partition is for the caller to check, who knows how many there are.

    Raises:
        UnreadableRecord: R1.
    """
    if value is None:
        raise UnreadableRecord("no value")
    if len(value) > MAX_RECORD_BYTES:
        raise UnreadableRecord(f"over {MAX_RECORD_BYTES} bytes")
    if not 0 <= timestamp_ms <= LAST_TIMESTAMP_MS:
        raise UnreadableRecord("timestamp before 1970 or after 9999")
    if _NEEDS_A_SECOND_LOOK.search(value) or value.count(b"{") + value.count(b"[") > MAX_NESTING:
        _refuse_bad_json(value)
    try:
        command = ANY_COMMAND.validate_json(value)
    except ValidationError as error:
        raise UnreadableRecord(_faults(error)) from None
    if key != command_key(command):
        raise UnreadableRecord("key does not match data")
    return command


def command_key(command: Command) -> bytes:
    """Give the record key that the command must stand under: `{facility_id}/{department_id}`."""
    return f"{command.data.facility_id}/{command.data.department_id}".encode()


def write_event(
    *,
    event_id: str,
    event_type: str,
    time: str,
    sequence: int,
    command: CommandEnvelope,
    data: Mapping[str, Any],
) -> bytes:
    """Write one event as its record's value.

    Args:
        event_id: `{partition}-{offset}-{n}`.
        event_type: `TokenConfirmed`, …
        time: the command record's timestamp, see `rfc3339`.
        sequence: the department's running event number.
        command: the command that caused it.
        data: the event's data, in the contract's order.
    """
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id,
        "source": "opd/allocator",
        "type": f"opd.{event_type}.v1",
        "time": time,
    }
    if "token_id" in data:
        envelope["subject"] = data["token_id"]
    envelope["sequence"] = f"{sequence:016d}"
    envelope["causationid"] = command.id
    if command.correlationid is not None:
        envelope["correlationid"] = command.correlationid
    if command.traceparent is not None:
        envelope["traceparent"] = command.traceparent
    envelope["data"] = data
    return to_json(envelope)


def rfc3339(timestamp_ms: int) -> str:
    """Give a Kafka timestamp as RFC 3339 in UTC with milliseconds."""
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def _refuse_bad_json(value: bytes) -> None:
    """Raise UnreadableRecord where JSON breaks one of R1's own rules; what else is wrong, pydantic finds."""
    try:
        text = value.decode()
        _refuse_deep_nesting(text)
        document = json.loads(text, parse_constant=_refuse_constant, parse_int=_refuse_wide_integer)
    except UnicodeDecodeError:
        raise UnreadableRecord("not UTF-8") from None
    except UnreadableRecord:
        raise
    except ValueError:
        raise UnreadableRecord("not JSON") from None
    _refuse_bad_text(document)


def _refuse_constant(name: str) -> NoReturn:
    raise UnreadableRecord(f"{name} is not JSON")


def _refuse_wide_integer(digits: str) -> int:
    number = int(digits) if len(digits) <= 20 else 2**64
    if not -(2**63) <= number < 2**63:
        raise UnreadableRecord("integer beyond 64 bits")
    return number


def _refuse_deep_nesting(text: str) -> None:
    depth = 0
    for bracket in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text, re.DOTALL):
        if bracket in "[{":
            depth += 1
            if depth > MAX_NESTING:
                raise UnreadableRecord(f"nested over {MAX_NESTING}")
        elif bracket in "]}":
            depth -= 1


def _refuse_bad_text(document: Any) -> None:
    match document:
        case str():
            if "\0" in document:
                raise UnreadableRecord("U+0000 in a text")
            if any("\ud800" <= character <= "\udfff" for character in document):
                raise UnreadableRecord("lone surrogate in a text")
        case dict():
            for name, item in document.items():
                _refuse_bad_text(name)
                _refuse_bad_text(item)
        case list():
            for item in document:
                _refuse_bad_text(item)
        case _:
            pass


def _faults(error: ValidationError) -> str:
    """Say which fields are wrong and how, in names of the schema alone: what a sender wrote may name a patient."""
    faults = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        place = [str(step) for step in fault["loc"]]
        if fault["type"] == "extra_forbidden":
            place[-1] = "*"
        if fault["type"] == "json_invalid":
            return "not JSON"
        faults.append(f"{'.'.join(place) or 'record'}: {fault['type']}")
    return "; ".join(faults[:8])
