"""Events as consumers read them."""

import json
import re
from collections.abc import Callable
from typing import Any, get_args

import pytest

from schemas.commands import COMMANDS
from schemas.events import EVENTS, CommandType, UnreadableEvent, read_event
from schemas.export import example, message_type
from schemas.wire import rfc3339, write_event
from tests.core.conformance import read_cases

EVENTS_BY_TYPE = {message_type(event): event for event in EVENTS}
Change = Callable[[dict[str, Any]], Any]


def event(name: str) -> dict[str, Any]:
    return example(EVENTS_BY_TYPE[f"opd.{name}.v1"])


def rejection(reason: str, *, names_a_token: bool) -> dict[str, Any]:
    made = event("CommandRejected")
    made["data"]["reason"] = reason
    if not names_a_token:
        del made["subject"], made["data"]["token_id"]
    return made


def read_made(made: dict[str, Any]) -> str:
    """Give `read`, or the fault."""
    try:
        read_event(json.dumps(made).encode())
    except UnreadableEvent as fault:
        return str(fault)
    return "read"


def test_every_event_of_the_conformance_cases_is_written_and_read_and_written_alike() -> None:
    seen = set()
    for step in (step for case in read_cases() for step in case.steps):
        for n, (event_type, data) in enumerate(step.events):
            written = write_event(
                event_id=f"0-1207-{n}",
                event_type=event_type,
                time=rfc3339(step.timestamp_ms),
                sequence=n + 1,
                command=step.command,
                data=data,
            )
            made = read_event(written)
            assert made.model_dump_json(exclude_unset=True).encode() == written
            assert made.causationid == step.command.id
            seen.add(type(made))
    assert seen == set(EVENTS)


OF_TOKENS = "facility_id, department_id, date, slot, token_id, token_no, patient_id, source, status, doctor_id"
DATA_FIELDS = {
    "TokenConfirmed": OF_TOKENS,
    "TokenWaitlisted": f"{OF_TOKENS}, position",
    "TokenPreempted": f"{OF_TOKENS}, position, lost_doctor_id, reason, by_token_id",
    "TokenPromoted": f"{OF_TOKENS}, reason",
    "TokenReassigned": f"{OF_TOKENS}, from_doctor_id, reason, by_token_id",
    "TokenUpgraded": f"{OF_TOKENS}, from_source",
    "TokenCancelled": f"{OF_TOKENS}, reason",
    "TokenNoShow": OF_TOKENS,
    "TokenCheckedIn": OF_TOKENS,
    "TokenCalled": OF_TOKENS,
    "TokenCompleted": OF_TOKENS,
    "TokenExpired": OF_TOKENS,
    "DoctorRegistered": "facility_id, department_id, doctor_id, name, schedule",
    "SlotCapacityChanged": "facility_id, department_id, doctor_id, date, slot, capacity, taken, over_by",
    "DoctorAvailabilityChanged": "facility_id, department_id, doctor_id, date, slot, available, reason",
    "SlotClosed": "facility_id, department_id, date, slot",
    "CommandRejected": "facility_id, department_id, command_type, reason, token_id",
}


def test_attributes_and_fields_stand_in_the_order_of_the_contract() -> None:
    for kind in EVENTS:
        assert ", ".join(kind.model_fields) == (
            "specversion, id, source, type, time, subject, sequence, causationid, correlationid, traceparent, data"
        )
    assert {kind.__name__: ", ".join(example(kind)["data"]) for kind in EVENTS} == DATA_FIELDS


def test_a_rejection_names_any_command() -> None:
    assert list(get_args(CommandType)) == [command.__name__ for command in COMMANDS]


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.update({"partitionkey": "blr1/cardiology", "datacontenttype": "application/json"}),
        lambda made: made.pop("correlationid"),
        lambda made: made.pop("traceparent"),
        lambda made: made.update(id="0-0-0"),
        lambda made: made.update(id="31-9223372036854775807-1000"),
    ],
)
def test_an_envelope_that_consumers_must_take(change: Change) -> None:
    made = event("TokenConfirmed")
    change(made)
    assert read_made(made) == "read"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda made: made.update(specversion="0.3"), "specversion: literal_error"),
        (lambda made: made.update(source="somebody"), "source: literal_error"),
        (lambda made: made.update(id="3-1207"), "id: string_pattern_mismatch"),
        (lambda made: made.update(id="03-1207-0"), "id: string_pattern_mismatch"),
        (lambda made: made.update(time="2026-11-23T02:45:00Z"), "time: string_pattern_mismatch"),
        (lambda made: made.update(sequence="42"), "sequence: string_pattern_mismatch"),
        (lambda made: made.update(sequence=42), "sequence: string_type"),
        (lambda made: made.update(correlationid=None), "correlationid: string_type"),
        (lambda made: made.pop("causationid"), "causationid: missing"),
        (lambda made: made.pop("subject"), "subject: missing"),
        (lambda made: made["data"].update(canary=1), "data.*: extra_forbidden"),
        (lambda made: made["data"].pop("doctor_id"), "data.doctor_id: missing"),
        (lambda made: made["data"].update(doctor_id=None), "data.doctor_id: string_type"),
        (lambda made: made["data"].update({"token_no": "17"}), "data.token_no: int_type"),
        (lambda made: made["data"].update(status="WAITLISTED"), "data.status: literal_error"),
    ],
)
def test_an_event_that_is_none_is_named_by_its_fault(change: Change, fault: str) -> None:
    made = event("TokenConfirmed")
    change(made)
    assert read_made(made) == f"opd.TokenConfirmed.v1.{fault}"


def test_the_subject_is_the_token() -> None:
    made = event("TokenConfirmed")
    assert read_made(made | {"subject": "blr1.cardiology.20261123.18"}) == "opd.TokenConfirmed.v1: value_error"
    assert read_made(event("SlotClosed") | {"subject": made["subject"]}) == "opd.SlotClosed.v1: value_error"
    without_token = rejection("SLOT_CLOSED", names_a_token=False)
    assert read_made(without_token | {"subject": made["subject"]}) == "opd.CommandRejected.v1: value_error"


@pytest.mark.parametrize(
    "value", [b"", b"canary", b"[]", b"\xff", b'{"type":"opd.TokenConfirmed.v2"}', b'{"type":"canary"}']
)
def test_a_record_that_is_no_event(value: bytes) -> None:
    with pytest.raises(UnreadableEvent, match=r"^(not JSON|record: (dict_type|union_tag_invalid))$"):
        read_event(value)


@pytest.mark.parametrize("name", ["TokenWaitlisted", "TokenPreempted", "TokenExpired"])
def test_a_token_that_waits_has_no_doctor(name: str) -> None:
    made = event(name)
    assert made["data"]["doctor_id"] is None
    made["data"]["doctor_id"] = "dr-rao"
    assert read_made(made) == f"opd.{name}.v1.data.doctor_id: none_required"


@pytest.mark.parametrize("name", ["TokenUpgraded", "TokenCheckedIn", "TokenCancelled"])
def test_a_token_with_or_without_a_doctor(name: str) -> None:
    made = event(name)
    for doctor_id in ("dr-rao", None):
        made["data"]["doctor_id"] = doctor_id
        assert read_made(made) == "read"


@pytest.mark.parametrize("name", ["TokenPreempted", "TokenReassigned"])
@pytest.mark.parametrize("reason", ["EMERGENCY", "DOCTOR_UNAVAILABLE"])
@pytest.mark.parametrize("named", [True, False])
def test_only_an_emergency_names_its_token(name: str, reason: str, named: bool) -> None:
    made = event(name)
    made["data"]["reason"] = reason
    if not named:
        del made["data"]["by_token_id"]
    fits = named == (reason == "EMERGENCY")
    assert read_made(made) == ("read" if fits else f"opd.{name}.v1.data: value_error")


@pytest.mark.parametrize(
    ("reason", "with_token", "without"),
    [
        ("TOKEN_UNKNOWN", True, False),
        ("INVALID_TRANSITION", True, False),
        ("DUPLICATE_COMMAND", True, True),
        ("ID_REUSED", True, True),
        ("SLOT_CLOSED", False, True),
        ("QUEUE_EMPTY", False, True),
    ],
)
def test_which_rejections_name_a_token(reason: str, with_token: bool, without: bool) -> None:
    assert (read_made(rejection(reason, names_a_token=True)) == "read") is with_token
    assert (read_made(rejection(reason, names_a_token=False)) == "read") is without


def test_a_fault_tells_no_value() -> None:
    made = event("TokenConfirmed")
    made["data"] |= {"patient_id": "canary" * 20, "slot": "canary", "canary": "canary"}
    assert "canary" not in read_made(made)
    assert re.fullmatch(r"[\w.*; :]+", read_made(made))
