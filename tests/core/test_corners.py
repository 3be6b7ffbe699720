"""What the contract says where no case of its own looks, or where it can be misread."""

from collections.abc import Callable
from typing import Any

import pytest

from allocation_core.calendar import DAY_MS, date_of_day, day_of_timestamp
from allocation_core.model import Department, Model
from allocation_core.state import DepartmentState, state_of
from schemas.commands import ANY_COMMAND
from schemas.events import Event
from schemas.words import Source
from tests.core.commands import make_command
from tests.core.conformance import Engine

MONDAY_MS = 1_795_392_000_000  # 2026-11-23T00:00:00Z
TODAY = day_of_timestamp(MONDAY_MS)
NINE, TEN, ELEVEN = "09:00-10:00", "10:00-11:00", "11:00-12:00"
TOKEN = "h.d.20261123."  # noqa: S105  the beginning of a token's id


class Clinic:
    """One department and the engine that decides for it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.timestamp_ms = MONDAY_MS
        self.number = 0

    def say(self, command_type: str, command_id: str | None = None, **data: Any) -> list[str]:
        """Give what a command caused, each event in a few words."""
        return [_in_words(event) for event in self.events(command_type, command_id, **data)]

    def events(self, command_type: str, command_id: str | None = None, **data: Any) -> list[Event]:
        self.number += 1
        department = {"facility_id": "h", "department_id": "d"}
        command = make_command(command_type, command_id or f"c{self.number}", {**department, **data})
        return self.engine.decide(command, self.timestamp_ms)

    def register(self, doctor_id: str, capacity: int, *slots: str) -> list[str]:
        schedule = [{"slot": slot, "capacity": capacity} for slot in slots]
        return self.say("RegisterDoctor", doctor_id=doctor_id, name=doctor_id, schedule=schedule)

    def request(
        self, patient_id: str, source: str = "ONLINE", pin: str | None = None, slot: str = NINE, day: int = TODAY
    ) -> list[str]:
        date = date_of_day(day)
        return self.say("RequestToken", date=date, slot=slot, patient_id=patient_id, source=source, doctor_id=pin)

    def cancel(self, token_no: int) -> list[str]:
        return self.say("CancelToken", token_id=f"{TOKEN}{token_no}")


def _in_words(event: Event) -> str:
    data = event.data
    words = [
        str(data.get("token_id", "")).removeprefix(TOKEN),
        data["reason"] if event.type != "TokenCancelled" and "reason" in data else None,
        data.get("slot") if event.type == "DoctorAvailabilityChanged" else None,
        f"by {data['doctor_id']}" if event.type.startswith("Token") and data["doctor_id"] is not None else None,
        f"at {data['position']}" if "position" in data else None,
    ]
    return " ".join([event.type, *filter(None, words)])


@pytest.fixture
def clinic(make_engine: Callable[[], Engine]) -> Clinic:
    return Clinic(make_engine())


def test_1000_may_wait_then_only_emergencies_and_victims(clinic: Clinic) -> None:
    clinic.register("a", 2, NINE)
    clinic.request("seated-1", "WALK_IN")
    clinic.request("seated-2", "WALK_IN")
    for patient in range(999):
        clinic.request(f"p{patient}", "PAID")
    assert clinic.request("last") == ["TokenWaitlisted 1002 at 1000"]
    assert clinic.request("late") == ["CommandRejected WAITLIST_FULL"]
    assert clinic.request("urgent-1", "EMERGENCY") == ["TokenPreempted 2 EMERGENCY at 1001", "TokenConfirmed 1003 by a"]
    assert clinic.request("urgent-2", "EMERGENCY") == ["TokenPreempted 1 EMERGENCY at 1001", "TokenConfirmed 1004 by a"]
    assert clinic.request("urgent-3", "EMERGENCY") == ["TokenWaitlisted 1005 at 1"]
    assert clinic.request("late") == ["CommandRejected WAITLIST_FULL"]
    assert clinic.request("last", "EMERGENCY") == ["TokenUpgraded 1002"]
    # Whoever is refused leaves no trace: another doctor's seat is theirs with the next number.
    clinic.register("b", 1, TEN)
    assert clinic.request("late", slot=TEN) == ["TokenConfirmed 1006 by b"]


def test_a_pinned_request_is_granted_past_a_full_waitlist_of_another_doctor(clinic: Clinic) -> None:
    clinic.register("a", 0, NINE)
    clinic.register("b", 1, NINE)
    for patient in range(1000):
        clinic.request(f"p{patient}", pin="a")
    assert clinic.request("late", pin="a") == ["CommandRejected WAITLIST_FULL"]
    assert clinic.request("late", pin="b") == ["TokenConfirmed 1001 by b"]
    assert clinic.request("later") == ["CommandRejected WAITLIST_FULL"]


def test_a_department_has_200_doctors_who_may_be_registered_anew(clinic: Clinic) -> None:
    for number in range(200):
        assert clinic.register(f"d{number}", 1) == ["DoctorRegistered"]
    assert clinic.register("d200", 1) == ["CommandRejected DEPARTMENT_FULL"]
    assert clinic.register("d0", 1, NINE) == ["DoctorRegistered"]
    assert clinic.say("CallNext", doctor_id="d200", date="2026-11-23", slot=NINE) == ["CommandRejected DOCTOR_UNKNOWN"]


def test_a_doctor_registered_anew_keeps_the_place_among_equals(clinic: Clinic) -> None:
    for doctor in ("b", "a"):
        clinic.register(doctor, 1, NINE)
    clinic.register("b", 1)
    clinic.register("b", 1, NINE)
    assert clinic.request("p1") == ["TokenConfirmed 1 by b"]


def test_shares_are_compared_exactly(clinic: Clinic) -> None:
    clinic.register("a", 499, NINE)
    clinic.register("b", 500, NINE)
    seats = [clinic.request(f"p{patient}")[0].split()[-1] for patient in range(997)]
    # 498/499 is less than 499/500 by 1/249500.
    assert seats.count("a") == 498
    assert clinic.request("last-but-one")[0].endswith("by a")
    assert clinic.request("last")[0].endswith("by b")


def test_a_pool_of_days_ago_is_left_as_it_is_until_a_seat_is_freed_in_it(clinic: Clinic) -> None:
    clinic.register("a", 1, NINE)
    for patient in range(1, 6):
        clinic.request(f"p{patient}")
    clinic.timestamp_ms += 2 * DAY_MS
    assert clinic.register("a", 3, NINE) == ["DoctorRegistered"]
    assert clinic.cancel(2) == ["TokenCancelled 2"]
    assert clinic.cancel(1) == [
        "TokenCancelled 1 by a",
        "TokenPromoted 3 CANCELLATION by a",
        "TokenPromoted 4 CANCELLATION by a",
        "TokenPromoted 5 CANCELLATION by a",
    ]
    assert clinic.register("a", 3) == ["DoctorRegistered"]
    assert clinic.say("CheckIn", token_id=f"{TOKEN}3") == ["TokenCheckedIn 3 by a"]


def test_yesterday_s_pool_follows_a_new_schedule_at_once(clinic: Clinic) -> None:
    clinic.register("a", 1, NINE)
    for patient in range(1, 3):
        clinic.request(f"p{patient}")
    clinic.timestamp_ms += DAY_MS
    assert clinic.register("a", 2, NINE) == ["DoctorRegistered", "TokenPromoted 2 DOCTOR_REGISTERED by a"]
    assert clinic.register("a", 2, TEN) == [
        "DoctorRegistered",
        "TokenPreempted 1 DOCTOR_UNAVAILABLE at 1",
        "TokenPreempted 2 DOCTOR_UNAVAILABLE at 2",
    ]


def test_a_new_schedule_counts_in_date_then_slot_order(clinic: Clinic) -> None:
    clinic.register("a", 0, NINE, TEN)
    for day, slot in ((TODAY + 1, NINE), (TODAY, TEN), (TODAY - 1, TEN), (TODAY, NINE)):
        clinic.request("p1", slot=slot, day=day)
    assert clinic.register("a", 1, NINE, TEN) == [
        "DoctorRegistered",
        "TokenPromoted h.d.20261122.1 DOCTOR_REGISTERED by a",
        "TokenPromoted 2 DOCTOR_REGISTERED by a",
        "TokenPromoted 1 DOCTOR_REGISTERED by a",
        "TokenPromoted h.d.20261124.1 DOCTOR_REGISTERED by a",
    ]


def test_a_token_that_lost_its_seat_is_cancelled_without_a_doctor(clinic: Clinic) -> None:
    clinic.register("a", 1, NINE)
    clinic.request("p1")
    clinic.request("p2", "EMERGENCY")
    assert clinic.cancel(1) == ["TokenCancelled 1"]
    clinic.register("a", 1)
    assert clinic.say("MarkNoShow", token_id=f"{TOKEN}2") == ["CommandRejected 2 INVALID_TRANSITION"]


def test_a_slot_that_nobody_works_any_more_cannot_be_closed_but_its_tokens_can_end(clinic: Clinic) -> None:
    clinic.register("a", 1, NINE)
    clinic.request("p1")
    clinic.register("a", 1)
    assert clinic.say("CloseSlot", date="2026-11-23", slot=NINE) == ["CommandRejected SLOT_UNKNOWN"]
    assert clinic.request("p2") == ["CommandRejected SLOT_UNKNOWN"]
    assert clinic.cancel(1) == ["TokenCancelled 1"]


def test_a_doctor_is_away_from_the_open_slots_of_that_weekday_in_slot_order(clinic: Clinic) -> None:
    schedule = [
        {"slot": TEN, "capacity": 1},
        {"slot": NINE, "capacity": 1, "weekdays": ["MON", "WED"]},
        {"slot": ELEVEN, "capacity": 1, "weekdays": ["TUE"]},
        {"slot": "08:00-09:00", "capacity": 1},
    ]
    clinic.say("RegisterDoctor", doctor_id="a", name="a", schedule=schedule)
    clinic.say("CloseSlot", date="2026-11-23", slot="08:00-09:00")
    clinic.request("p1", slot=TEN)
    away: dict[str, Any] = {"doctor_id": "a", "date": "2026-11-23", "available": False}
    assert clinic.say("SetDoctorAvailability", **away) == [
        f"DoctorAvailabilityChanged {NINE}",
        f"DoctorAvailabilityChanged {TEN}",
        "TokenPreempted 1 DOCTOR_UNAVAILABLE at 1",
    ]
    assert clinic.say("SetDoctorAvailability", **away, slot=ELEVEN) == ["CommandRejected SLOT_UNKNOWN"]
    assert clinic.say("SetDoctorAvailability", **{**away, "doctor_id": "b"}) == ["CommandRejected DOCTOR_UNKNOWN"]


def test_an_emergency_spares_who_lost_a_seat_to_a_doctor_s_absence(clinic: Clinic) -> None:
    clinic.register("a", 1, NINE)
    clinic.register("b", 1, NINE)
    clinic.request("p1")
    clinic.request("p2")
    for available in (False, True):
        clinic.say("SetDoctorAvailability", doctor_id="b", date="2026-11-23", available=available)
    assert clinic.request("p3", "EMERGENCY")[0] == "TokenPreempted 1 EMERGENCY at 1"


def test_an_absent_doctor_s_emergency_keeps_its_place_while_present(clinic: Clinic) -> None:
    clinic.register("a", 1, NINE)
    clinic.register("b", 1, NINE)
    clinic.request("p1", "EMERGENCY")
    clinic.request("p2")
    clinic.say("CheckIn", token_id=f"{TOKEN}1")
    events = clinic.events("SetDoctorAvailability", doctor_id="a", date="2026-11-23", available=False)
    assert [_in_words(event) for event in events[1:]] == [
        "TokenPreempted 2 EMERGENCY at 1",
        "TokenReassigned 1 DOCTOR_UNAVAILABLE by b",
    ]
    assert events[1].data["by_token_id"] == f"{TOKEN}1"
    assert events[2].data["status"] == "CHECKED_IN"
    assert "by_token_id" not in events[2].data


def test_emergency_that_waits_behind_none_is_raised_in_place(clinic: Clinic) -> None:
    clinic.register("a", 1, NINE)
    clinic.register("b", 1, NINE)
    clinic.request("p1", "EMERGENCY", "a")
    clinic.request("p2", "PAID", "a")
    # b has room, but p2 was pinned; raised without a pin it needs no victim.
    assert clinic.request("p2", "EMERGENCY") == ["TokenUpgraded 2", "TokenPromoted 2 UPGRADED by b"]


def test_a_repeat_is_told_the_token_even_when_that_is_forgotten(clinic: Clinic) -> None:
    clinic.register("a", 1, NINE)
    request = {"date": "2026-11-22", "slot": NINE, "patient_id": "p1", "source": "ONLINE"}
    clinic.say("RequestToken", "k", **request)
    clinic.timestamp_ms += 7 * DAY_MS
    yesterdays = "h.d.20261122.1"
    assert clinic.say("CheckIn", token_id=yesterdays) == [f"CommandRejected {yesterdays} TOKEN_UNKNOWN"]
    assert clinic.say("RequestToken", "k", **request) == [f"CommandRejected {yesterdays} DUPLICATE_COMMAND"]
    clinic.timestamp_ms += DAY_MS  # the repeat did not refresh what is remembered
    assert clinic.say("RequestToken", "k", **request) == ["CommandRejected DATE_IN_PAST"]


def test_a_repeat_is_told_the_token_that_was_raised(clinic: Clinic) -> None:
    clinic.register("a", 1, NINE)
    clinic.request("p1")
    raised = {"date": "2026-11-23", "slot": NINE, "patient_id": "p1", "source": Source.EMERGENCY}
    assert clinic.say("RequestToken", "k", **raised) == ["TokenUpgraded 1 by a"]
    assert clinic.say("RequestToken", "k", **raised) == ["CommandRejected 1 DUPLICATE_COMMAND"]
    assert clinic.say("CloseSlot", "k", date="2026-11-23", slot=NINE) == ["CommandRejected 1 ID_REUSED"]


def test_what_a_repeat_says_is_compared_as_json_values(make_engine: Callable[[], Engine]) -> None:
    engine = make_engine()
    head = '{"specversion":"1.0","id":"k","source":"s","type":"opd.RegisterDoctor.v1",'
    place = '"facility_id":"h","department_id":"d"'
    week = '"schedule":[{"slot":"09:00-10:00","capacity":0}]'
    week_spelt_otherwise = '"schedule" : [ {"capacity":-0, "slot":"09:00-10:00"} ]'
    said = [
        f'{head}"data":{{{place},"doctor_id":"a","name":"é",{week}}}}}',
        f'{head}"data":{{{week_spelt_otherwise},"name":"\\u00e9","doctor_id":"b","doctor_id":"a",{place}}},"time":"x"}}',
        f'{head}"data":{{{place},"doctor_id":"a","name":"e\\u0301",{week}}}}}',
    ]
    decisions = [engine.decide(ANY_COMMAND.validate_json(value), MONDAY_MS)[0] for value in said]
    assert [_in_words(event) for event in decisions] == [
        "DoctorRegistered",
        "CommandRejected DUPLICATE_COMMAND",
        "CommandRejected ID_REUSED",
    ]


def test_ids_are_a_department_s_own(make_engine: Callable[[], Engine]) -> None:
    engine = make_engine()
    for facility_id, department_id in (("h", "d"), ("h", "e"), ("i", "d")):
        data = {"facility_id": facility_id, "department_id": department_id, "token_id": "h.d.20261123.1"}
        [event] = engine.decide(make_command("CheckIn", "k", data), MONDAY_MS)
        assert (event.data["reason"], event.sequence) == ("TOKEN_UNKNOWN", 1)


def test_a_weekday_or_date_turns_at_midnight_utc(clinic: Clinic) -> None:
    clinic.register("a", 1, NINE)
    clinic.timestamp_ms = MONDAY_MS + DAY_MS - 1
    assert clinic.request("p1", day=TODAY - 1) == ["TokenConfirmed h.d.20261122.1 by a"]
    assert clinic.request("p2", day=TODAY + 181) == ["CommandRejected DATE_TOO_FAR"]
    clinic.timestamp_ms += 1
    assert clinic.request("p2", day=TODAY - 1) == ["CommandRejected DATE_IN_PAST"]
    assert clinic.request("p2", day=TODAY + 181) == ["TokenConfirmed h.d.20270523.1 by a"]


def test_what_is_no_token_id_names_no_token_of_the_first_day_either(clinic: Clinic) -> None:
    clinic.timestamp_ms = 0
    clinic.register("a", 1, NINE)
    assert clinic.request("p", day=0) == ["TokenConfirmed h.d.19700101.1 by a"]
    no_id = "h.d.1970.1"
    assert clinic.say("CancelToken", token_id=no_id) == [f"CommandRejected {no_id} TOKEN_UNKNOWN"]


def test_model_s_department_begins_with_nothing() -> None:
    assert state_of(Department("h", "d")) == DepartmentState("h/d")


def test_model_counts_arrivals_and_preemptions_one_by_one() -> None:
    model = Model()
    clinic = Clinic(model)
    clinic.register("a", 1, NINE)
    clinic.request("p1")
    clinic.request("p2", "EMERGENCY")
    clinic.cancel(2)
    clinic.request("p3", "EMERGENCY")
    state = state_of(model.departments["h", "d"])
    assert state.arrivals == 3
    assert [token.arrival for token in state.tokens.values()] == [1, 2, 3]
    assert [token.times_preempted for token in state.tokens.values()] == [2, 0, 0]


def test_model_forgets_what_is_a_week_over() -> None:
    model = Model()
    clinic = Clinic(model)
    clinic.register("a", 1, NINE)
    for patient in range(5):
        clinic.request(f"p{patient}")
    clinic.request("p6", day=TODAY + 1)
    clinic.timestamp_ms += 8 * DAY_MS
    clinic.cancel(1)
    department = model.departments["h", "d"]
    assert list(department.pools) == [(TODAY + 1, NINE)]
    assert list(department.tokens) == ["h.d.20261124.1"]
    assert list(department.token_nos) == [TODAY + 1]
    assert [first.day for first in department.commands.values()] == [TODAY + 8]
