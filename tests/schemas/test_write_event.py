"""The bytes of an event: they are the contract's, since a repeat must be the same to the byte."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.commands import CancelToken, CancelTokenData
from schemas.events import Event
from schemas.wire import rfc3339, write_event, write_events, written
from schemas.words import LAST_TIMESTAMP_MS

SUBJECT = "blr1.cardiology.20261123.17"
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=64)


def a_command(command_id: str, **handed_on: str | None) -> CancelToken:
    return CancelToken(
        specversion="1.0",
        id=command_id,
        source="desk",
        type="opd.CancelToken.v1",
        data=CancelTokenData(facility_id="blr1", department_id="cardiology", token_id=SUBJECT),
        **{name: value for name, value in handed_on.items() if value is not None},
    )


def write(command: CancelToken, data: dict[str, Any]) -> bytes:
    return write_event(
        event_id="3-1207-0",
        event_type="TokenCancelled",
        time="2026-11-23T02:45:00.000Z",
        sequence=42,
        command=command,
        data=data,
    )


def test_an_event_of_a_token_to_the_byte() -> None:
    command = a_command("desk-1", correlationid="visit-5512", traceparent="00-4bf9-01")
    data = {"facility_id": "blr1", "department_id": "cardiology", "token_id": SUBJECT, "doctor_id": None}
    assert write(command, data).decode() == (
        '{"specversion":"1.0","id":"3-1207-0","source":"opd/allocator","type":"opd.TokenCancelled.v1",'
        '"time":"2026-11-23T02:45:00.000Z","subject":"blr1.cardiology.20261123.17","sequence":"0000000000000042",'
        '"causationid":"desk-1","correlationid":"visit-5512","traceparent":"00-4bf9-01",'
        '"data":{"facility_id":"blr1","department_id":"cardiology","token_id":"blr1.cardiology.20261123.17",'
        '"doctor_id":null}}'
    )


def test_an_event_of_no_token_from_a_command_that_hands_nothing_on() -> None:
    assert write(a_command("desk-1"), {"facility_id": "blr1", "department_id": "cardiology"}).decode() == (
        '{"specversion":"1.0","id":"3-1207-0","source":"opd/allocator","type":"opd.TokenCancelled.v1",'
        '"time":"2026-11-23T02:45:00.000Z","sequence":"0000000000000042","causationid":"desk-1",'
        '"data":{"facility_id":"blr1","department_id":"cardiology"}}'
    )


def test_characters_stand_as_they_are_and_control_characters_as_json_escapes_them() -> None:
    event = write(a_command("id"), {"name": 'é 診 🏥 \u2028 \x7f " \\ / \b\f\n\r\t \x01\x1f'})
    assert event.endswith('"name":"é 診 🏥 \u2028 \x7f \\" \\\\ / \\b\\f\\n\\r\\t \\u0001\\u001f"}}'.encode())


@given(
    command_id=texts,
    correlationid=st.none() | texts,
    traceparent=st.none() | texts,
    reason=texts,
    seats=st.integers(0, 500),
)
def test_an_event_is_what_plain_json_dumps_writes(
    command_id: str, correlationid: str | None, traceparent: str | None, reason: str, seats: int
) -> None:
    data = {
        "token_id": SUBJECT,
        "reason": reason,
        "seats": [{"n": seats, "there": True, "doctor_id": None}],
        "none": [],
    }
    handed_on = {"correlationid": correlationid, "traceparent": traceparent}
    envelope = {
        "specversion": "1.0",
        "id": "3-1207-0",
        "source": "opd/allocator",
        "type": "opd.TokenCancelled.v1",
        "time": "2026-11-23T02:45:00.000Z",
        "subject": SUBJECT,
        "sequence": "0000000000000042",
        "causationid": command_id,
        **{name: value for name, value in handed_on.items() if value is not None},
        "data": data,
    }
    plain = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
    assert write(a_command(command_id, **handed_on), data) == plain


def test_the_events_of_a_command_stand_under_its_place_and_are_numbered_from_0() -> None:
    command = a_command("desk-1", correlationid="visit-5512")
    events = [
        Event("TokenCancelled", 42, {"token_id": SUBJECT}),
        Event("TokenPromoted", 43, {"token_id": SUBJECT}),
        Event("CommandRejected", 44, {}),
    ]
    values = [
        write_event(
            event_id=f"3-1207-{n}",
            event_type=event.type,
            time="2026-11-23T00:00:00.007Z",
            sequence=event.sequence,
            command=command,
            data=event.data,
        )
        for n, event in enumerate(events)
    ]
    said = [written(event) for event in events]
    for first in range(4):
        assert write_events(3, 1207, 1_795_392_000_007, command, said, first=first) == values[first:]
    assert write_events(3, 1207, 1_795_392_000_007, command, said) == values


def test_the_reason_beside_an_event_is_that_of_a_refusal() -> None:
    assert written(Event("CommandRejected", 1, {"reason": "SLOT_CLOSED"})).reason == "SLOT_CLOSED"
    assert written(Event("TokenPromoted", 1, {"reason": "CANCELLATION"})).reason == ""


@pytest.mark.parametrize(
    ("timestamp_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (1_795_392_000_000, "2026-11-23T00:00:00.000Z"),
        (LAST_TIMESTAMP_MS, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_timestamp(timestamp_ms: int, text: str) -> None:
    assert rfc3339(timestamp_ms) == text


@given(st.integers(0, LAST_TIMESTAMP_MS))
def test_every_timestamp_is_exact(timestamp_ms: int) -> None:
    moment = datetime.fromisoformat(rfc3339(timestamp_ms))
    assert moment - datetime(1970, 1, 1, tzinfo=UTC) == timedelta(milliseconds=timestamp_ms)
