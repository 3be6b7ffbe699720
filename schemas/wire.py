"""How messages stand in a record: JSON in by R1's rules, JSON out to the byte (spec §2)."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate
from json.encoder import encode_basestring
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import to_json

from schemas.commands import ANY_COMMAND, Command
from schemas.events import Event, WrittenEvent
from schemas.faults import faults
from schemas.plain import AnyCommand
from schemas.words import LAST_TIMESTAMP_MS, MAX_RECORD_BYTES

MAX_NESTING = 32
CONTENT_TYPE = ("content-type", b"application/cloudevents+json")

_validate_json = ANY_COMMAND.validator.validate_json
# Every digit becomes 0 and every opening bracket {: what to look for in a record is then a handful of plain texts.
_SHAPE = bytes.maketrans(b"123456789[", b"000000000{")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # one that never ends reaches to the end: no second try
_BAD_CHARACTER = re.compile("[\0\ud800-\udfff]")


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
    if _needs_a_second_look(value):
        value = _plain_json(value)
    try:
        command: Command = _validate_json(value)
    except ValidationError as error:
        raise UnreadableRecord(faults(error)) from None
    if key != command_key(command):
        raise UnreadableRecord("key does not match data")
    return command


def command_key(command: AnyCommand) -> bytes:
    """Give the record key that the command must stand under: `{facility_id}/{department_id}`."""
    data = command.data
    return f"{data.facility_id}/{data.department_id}".encode()


def write_event(  # noqa: PLR0913  an envelope has so many parts, and each is named
    *,
    event_id: str,
    event_type: str,
    time: str,
    sequence: int,
    command: AnyCommand,
    data: dict[str, Any],
) -> bytes:
    """Write one event as its record's value.

    Args:
        event_id: `{partition}-{offset}-{n}`.
        event_type: `TokenConfirmed`, …
        time: the command record's timestamp, see `rfc3339`.
        sequence: the department's running event number.
        command: the command that caused it.
        data: the event's data, in the contract's order; plain values (an enum's member costs a microsecond).
    """
    return _write_event(event_id, time, _caused_by(command), written(Event(event_type, sequence, data)))


def written(event: Event) -> WrittenEvent:
    """Write an event's data."""
    data = event.data
    reason = str(data.get("reason", "")) if event.type == "CommandRejected" else ""
    return WrittenEvent(event.type, event.sequence, data.get("token_id"), to_json(data).decode(), reason)


def write_events(  # noqa: PLR0913  where the command stood, and what it caused
    partition: int,
    offset: int,
    timestamp_ms: int,
    command: AnyCommand,
    events: Sequence[WrittenEvent],
    *,
    first: int = 0,
) -> list[bytes]:
    """Write what a command caused, from its event number `first` on, as the values of records.

    Args:
        partition: where the command's record stands.
        offset: likewise.
        timestamp_ms: of that record.
        command: the command.
        events: all that it caused, in order.
        first: the number of the first event that is wanted.
    """
    time, caused_by = rfc3339(timestamp_ms), _caused_by(command)
    values = []
    for n in range(first, len(events)):  # a comprehension costs more than one event
        values.append(_write_event(f"{partition}-{offset}-{n}", time, caused_by, events[n]))  # noqa: PERF401
    return values


def _caused_by(command: AnyCommand) -> str:
    """Give the attributes that an event has of its command."""
    # Only what the sender chose freely is escaped: the rest has no character that JSON would escape.
    caused_by = f'"causationid":{encode_basestring(command.id)}'
    if command.correlationid is not None:
        caused_by += f',"correlationid":{encode_basestring(command.correlationid)}'
    if command.traceparent is not None:
        caused_by += f',"traceparent":{encode_basestring(command.traceparent)}'
    return caused_by


def _write_event(event_id: str, time: str, caused_by: str, event: WrittenEvent) -> bytes:
    subject = "" if event.token_id is None else f'"subject":"{event.token_id}",'
    sequence = str(event.sequence).zfill(16)
    return (
        f'{{"specversion":"1.0","id":"{event_id}","source":"opd/allocator","type":"opd.{event.type}.v1",'
        f'"time":"{time}",{subject}"sequence":"{sequence}",{caused_by},"data":{event.data}}}'
    ).encode()


@lru_cache(maxsize=64)  # neighbours in the log often share their millisecond, always their second
def rfc3339(timestamp_ms: int) -> str:
    """Give a Kafka timestamp as RFC 3339 in UTC with milliseconds."""
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    return f"{_to_the_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def _needs_a_second_look(value: bytes) -> bool:
    """Whether the record may hold one of the few things that pydantic's own reader takes otherwise than R1.

    It lets pass, where a name is ignored or stands again: U+0000, NaN, Infinity, wide integers and deep nesting. It
    refuses numbers of thousands of digits before their point. A record without all these is the rule, and needs one
    look; one that only seems to have them costs a second one and is judged alike.
    """
    shape = value.translate(_SHAPE).decode("latin-1")  # a text is searched faster than bytes are
    return (
        r"\u0000" in shape
        or "NaN" in shape
        or "Infinity" in shape
        or "0" * 19 in shape
        or shape.count("{") > MAX_NESTING
    )


def _plain_json(value: bytes) -> bytes:
    """Write the record anew as JSON that pydantic reads as R1 does, or raise UnreadableRecord."""
    try:
        text = value.decode()
        _refuse_deep_nesting(text)
        document = json.loads(
            text,
            object_pairs_hook=_last_of_each_name,
            parse_constant=_refuse_constant,
            parse_int=_integer_of_64_bits,
        )
    except UnicodeDecodeError:
        raise UnreadableRecord("not UTF-8") from None
    except json.JSONDecodeError:
        raise UnreadableRecord("not JSON") from None
    return json.dumps(document).encode()


def _refuse_deep_nesting(text: str) -> None:
    # In a text that is no JSON this counts something, but never less than a reader meets before the fault.
    brackets = re.findall(r"[\[\]{}]", _STRING.sub("", text))
    if max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0) > MAX_NESTING:
        raise UnreadableRecord(f"nested over {MAX_NESTING}")


def _last_of_each_name(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Here, and not in the finished document, because a text that a later one replaces counts too.
    for name, item in pairs:
        _refuse_bad_characters(name)
        _refuse_bad_characters(item)
    return dict(pairs)


def _refuse_bad_characters(item: Any) -> None:
    if isinstance(item, list):
        for part in item:
            _refuse_bad_characters(part)
    elif isinstance(item, str) and _BAD_CHARACTER.search(item):
        raise UnreadableRecord("U+0000 or a lone surrogate in a text")


def _refuse_constant(name: str) -> NoReturn:
    raise UnreadableRecord(f"{name} is not JSON")


def _integer_of_64_bits(digits: str) -> int:
    # Longer ones are not converted: that costs the square of their length.
    if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**63:
        raise UnreadableRecord("integer beyond 64 bits")
    return number
