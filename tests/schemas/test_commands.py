"""The limits of the contract's words, one by one."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from schemas.commands import COMMANDS, CommandEnvelope, RegisterDoctorData, Schedule
from schemas.export import example
from schemas.words import (
    Capacity,
    Date,
    DoctorId,
    PatientId,
    Slot,
    Source,
    Text,
    TokenId,
)

BED = "\U0001f6cf"  # one code point, two UTF-16 units, four bytes


def is_good(kind: Any, value: Any) -> bool:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (DoctorId, ["a", "-", "dr-rao", "9" * 32], ["", "A", "dr_rao", "dr rao", "dr.rao", "a" * 33, "é", "a\n"]),
        (TokenId, ["a", ".", "blr1.cardiology.20261123.17", "a" * 128], ["", "a" * 129, "a/b", "A", "a\n"]),
        (PatientId, ["p", "Any text at all\n", BED * 64], ["", BED * 65]),
        (Text, ["x", BED * 200], ["", BED * 201]),
        (Date, ["2026-11-23", "2024-02-29", "0001-01-01", "9999-12-31"], ["2026-02-29", "0000-01-01", "20261123", ""]),
        (
            Slot,
            ["09:00-10:00", "00:00-24:00", "23:59-24:00", "09:00-09:01"],
            ["09:00-09:00", "24:00-24:00", "9:00-10:00"],
        ),
        (
            Slot,
            ["00:00-00:01"],
            ["10:00-09:00", "09:00-24:01", "09:60-10:00", "25:00-26:00", "09:00 10:00", "09:00-10:00\n"],
        ),
        (Capacity, [0, 500], [-1, 501]),
    ],
)
def test_the_limits_of_a_word(kind: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not is_good(kind, value)] == []
    assert [value for value in bad if is_good(kind, value)] == []


def entry(slot: str, *weekdays: str) -> dict[str, Any]:
    return {"slot": slot, "capacity": 1} | ({"weekdays": list(weekdays)} if weekdays else {})


@pytest.mark.parametrize(
    ("schedule", "good"),
    [
        ([], True),
        ([entry("09:00-10:00"), entry("10:00-11:00")], True),
        ([entry("09:00-10:00", "MON", "TUE"), entry("09:00-10:00", "WED")], True),
        ([entry("09:00-10:00", "MON"), entry("09:00-10:00", "TUE", "MON")], False),
        ([entry("09:00-10:00"), entry("09:00-10:00", "SUN")], False),
        ([entry("09:00-10:00", "SUN"), entry("09:00-10:00")], False),
        ([entry("09:00-10:00", "MON", "MON")], False),
        ([entry("09:00-10:00") | {"weekdays": []}], False),
        ([entry("09:00-10:00") | {"weekdays": None}], False),
        ([entry("09:00-10:00", "FRIDAY")], False),
    ],
)
def test_a_slot_stands_once_for_a_weekday(schedule: list[Any], good: bool) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Schedule)
    text = adapter.dump_json(schedule, warnings=False)
    if good:
        assert adapter.dump_python(adapter.validate_json(text), mode="json", exclude_none=True) == schedule
    else:
        with pytest.raises(ValidationError):
            adapter.validate_json(text)


def test_sources_in_the_order_of_their_priority() -> None:
    assert [(source, source.priority) for source in Source] == [
        ("EMERGENCY", 1),
        ("PAID", 2),
        ("FOLLOW_UP", 3),
        ("ONLINE", 4),
        ("WALK_IN", 5),
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_never_changed_and_goes_out_as_it_came(command: type[CommandEnvelope]) -> None:
    made = command.model_validate_json(json.dumps(example(command)))
    assert made.model_dump(mode="json", exclude_none=True) == example(command)
    with pytest.raises(ValidationError, match="frozen"):
        made.id = "other"  # type: ignore[misc]  # that is the point


def test_what_is_left_out_is_none() -> None:
    data = RegisterDoctorData.model_validate_json(
        '{"facility_id":"blr1","department_id":"cardiology","doctor_id":"a","name":"A",'
        '"schedule":[{"slot":"09:00-10:00","capacity":1}]}'
    )
    assert data.schedule[0].weekdays is None
