"""I9's words: where two states differ, where what Redis keeps contradicts itself, and what is no state at all."""

from dataclasses import replace
from typing import Any

import pytest

from allocation_core.layout import Indexes, contradictions, derive
from allocation_core.state import (
    CommandState,
    DepartmentState,
    SessionState,
    TokenState,
    differences,
    read_state,
    write_state,
)
from schemas.words import Source, Status

MONDAY = 20_780  # 2026-11-23
NINE = "09:00-10:00"
SEATED = TokenState(NINE, "secret-1", Source.PAID, Status.CONFIRMED, "a", None, False, 0, 1)
WAITING = TokenState(NINE, "secret-2", Source.ONLINE, Status.WAITLISTED, None, "b", True, 2, 2)
STATE = DepartmentState(
    "h/d",
    day=MONDAY,
    sequence=9,
    arrivals=2,
    doctors=[("a", {(NINE, 0): 1}), ("b", {(NINE, 0): 2, (NINE, 1): 3})],
    token_nos={MONDAY: 2},
    closed={(MONDAY, "08:00-09:00")},
    sessions={(MONDAY, NINE, "b"): SessionState(None, away=True)},
    tokens={(MONDAY, 1): SEATED, (MONDAY, 2): WAITING},
    commands={b"\x01" * 16: CommandState(b"\x02" * 16, MONDAY, (MONDAY, 2))},
)


def test_equal_states_do_not_differ() -> None:
    assert list(differences(STATE, replace(STATE))) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"day": MONDAY + 1}, "day is 20781, not 20780"),
        ({"sequence": 8}, "sequence is 8, not 9"),
        ({"arrivals": 3}, "arrivals is 3, not 2"),
        ({"name": "h/e"}, "name is h/e, not h/d"),
        ({"doctors": STATE.doctors[::-1]}, "doctors are others, or in another order"),
        ({"doctors": STATE.doctors[:1]}, "doctors are others, or in another order"),
        ({"doctors": [STATE.doctors[0], ("b", {(NINE, 0): 2})]}, "week of doctor b differs"),
        ({"token_nos": {}}, "token_nos 2026-11-23 is missing"),
        ({"token_nos": {MONDAY: 3}}, "token_nos 2026-11-23 differs"),
        ({"token_nos": {MONDAY: 2, MONDAY + 1: 1}}, "token_nos 2026-11-24 is one too many"),
        ({"closed": set()}, "closed 2026-11-23 08:00-09:00"),
        ({"closed": {*STATE.closed, (MONDAY, NINE)}}, "closed 2026-11-23 09:00-10:00"),
        ({"sessions": {}}, "sessions 2026-11-23 09:00-10:00 b is missing"),
        (
            {"sessions": {(MONDAY, NINE, "b"): SessionState(0, away=False)}},
            "sessions 2026-11-23 09:00-10:00 b differs: capacity, away",
        ),
        ({"tokens": {(MONDAY, 1): SEATED}}, "tokens 2026-11-23 2 is missing"),
        (
            {"tokens": {**STATE.tokens, (MONDAY, 1): SEATED._replace(patient_id="secret-3", arrival=7)}},
            "tokens 2026-11-23 1 differs: patient_id, arrival",
        ),
        ({"commands": {}}, f"commands {'01' * 16} is missing"),
        (
            {"commands": {b"\x01" * 16: CommandState(b"\x02" * 16, MONDAY, None)}},
            f"commands {'01' * 16} differs: token",
        ),
    ],
)
def test_a_difference_is_named_without_a_patient(changed: dict[str, Any], said: str) -> None:
    assert list(differences(STATE, replace(STATE, **changed))) == [said]


def test_a_state_is_read_as_it_was_written() -> None:
    assert read_state(write_state(STATE)) == STATE
    reordered = replace(
        STATE,
        doctors=[(doctor_id, dict(reversed(week.items()))) for doctor_id, week in STATE.doctors],
        tokens=dict(reversed(STATE.tokens.items())),
    )
    assert write_state(reordered) == write_state(STATE), "equal states give equal bytes"


@pytest.mark.parametrize("line", [b"", b"{", b"null", b"[]", b"{}", b'{"department":"h/d"}', b"\xff"])
def test_what_is_no_state_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  JSON's own errors are of this kind too
        read_state(line)


def test_a_week_is_remembered_and_a_day_more_is_not() -> None:
    """R3, to the day: a date seven days ago is kept."""
    state = replace(STATE, day=MONDAY + 7)
    state.forget()
    assert state == replace(STATE, day=MONDAY + 7)
    state.day = MONDAY + 8
    state.forget()
    assert state == DepartmentState("h/d", day=MONDAY + 8, sequence=9, arrivals=2, doctors=STATE.doctors)


# ------------------------------------------------------------------------------------------------------ contradictions


def test_what_follows_from_a_state_does_not_contradict_it() -> None:
    found = derive(STATE)
    assert list(contradictions(STATE, found)) == []
    assert found.active == {(MONDAY, NINE): {"secret-1": 1, "secret-2": 2}}
    assert found.worked == {f"{NINE} 0": [1, 1, "a", 2, 2, "b"], f"{NINE} 1": [2, 3, "b"]}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"worked": {f"{NINE} 0": [1, 1, "a", 2, 2, "b"]}}, f"worked of {NINE} 1"),
        ({"pools": {}}, "pools of 2026-11-23"),
        ({"active": {(MONDAY, NINE): {"secret-1": 1}}}, f"active of 2026-11-23 {NINE}"),
        ({"lines": {}}, f"lines of 2026-11-23 {NINE}"),
    ],
)
def test_an_index_that_contradicts_is_named_without_a_patient(changed: dict[str, Any], said: str) -> None:
    found: Indexes = replace(derive(STATE), **changed)
    told = list(contradictions(STATE, found))
    assert told
    assert all(text.startswith(f"index {said}") for text in told)
    assert all(text.endswith(" contradicts the tokens and doctors") for text in told)
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    "changed",
    [
        {"sessions": {(MONDAY, NINE, "x"): SessionState(3, away=False)}},
        {"tokens": {(MONDAY, 1): SEATED._replace(doctor_id="x")}},
        {"tokens": {(MONDAY, 1): WAITING._replace(pin="x")}},
    ],
)
def test_a_doctor_who_was_never_registered_is_named(changed: dict[str, Any]) -> None:
    state = replace(STATE, **changed)
    assert list(contradictions(state, derive(STATE))) == ["doctors x are named but not registered"]
