"""Whatever is said in whatever order, the contract's invariants hold after every command."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from allocation_core.calendar import DAY_MS, date_of_day, day_of_timestamp
from schemas.commands import Command
from schemas.words import Source
from tests.core.commands import make_command
from tests.core.conformance import Engine
from tests.core.invariants import Books

MONDAY_MS = 1_795_392_000_000  # 2026-11-23T00:00:00Z

DOCTORS = st.sampled_from(["a", "b", "c"])
SLOTS = st.sampled_from(["09:00-10:00", "10:00-11:00"])
CAPACITIES = st.integers(0, 3)
PINS = st.none() | DOCTORS
PATIENTS = st.integers(1, 9).map(lambda number: f"p{number}")
DAYS_AHEAD = st.sampled_from([0, 0, 0, 1, -1])
TOKENS = st.integers(0, 11)
WEEKDAYS = st.none() | st.lists(st.sampled_from(["MON", "TUE", "WED", "SUN"]), min_size=1, unique=True)
SCHEDULES = st.lists(st.tuples(SLOTS, CAPACITIES, WEEKDAYS), max_size=2, unique_by=lambda entry: entry[0])
REASONS = st.none() | st.just("ill")


class Department(RuleBasedStateMachine):
    """A department of three doctors, two slots and few patients."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.books = Books()
        self.timestamp_ms = MONDAY_MS
        self.day = day_of_timestamp(MONDAY_MS)
        self.said: list[Command] = []
        self.token_ids = ["h.d.20261123.99"]

    def say(self, command_type: str, **data: Any) -> None:
        self.send(make_command(command_type, f"c{len(self.said)}", {"facility_id": "h", "department_id": "d", **data}))

    def send(self, command: Command) -> None:
        self.said.append(command)
        events = self.engine.decide(command, self.timestamp_ms)
        self.books.enter(command, self.timestamp_ms, events)
        for event in events:
            if event.type in {"TokenConfirmed", "TokenWaitlisted"}:
                self.token_ids.append(event.data["token_id"])

    def date(self, days_ahead: int) -> str:
        return date_of_day(self.day + days_ahead)

    def token_id(self, number_from_the_last: int) -> str:
        return self.token_ids[-1 - number_from_the_last % len(self.token_ids)]

    @initialize(capacity=st.integers(1, 3))
    def begin(self, capacity: int) -> None:
        self.register("a", [("09:00-10:00", capacity, None)])

    @rule(
        doctor=DOCTORS, entries=st.lists(st.tuples(SLOTS, CAPACITIES, WEEKDAYS), max_size=2, unique_by=lambda e: e[0])
    )
    def register(self, doctor: str, entries: list[tuple[str, int, list[str] | None]]) -> None:
        schedule = [
            {"slot": slot, "capacity": capacity, **({} if weekdays is None else {"weekdays": weekdays})}
            for slot, capacity, weekdays in entries
        ]
        self.say("RegisterDoctor", doctor_id=doctor, name=f"Dr {doctor}", schedule=schedule)

    @rule(days=DAYS_AHEAD, slot=SLOTS, patient=PATIENTS, source=st.sampled_from(Source), pin=PINS)
    def request(self, days: int, slot: str, patient: str, source: Source, pin: str | None) -> None:
        self.say("RequestToken", date=self.date(days), slot=slot, patient_id=patient, source=source, doctor_id=pin)

    @rule(slot=SLOTS, first=st.integers(1, 5), source=st.sampled_from(Source))
    def crowd(self, slot: str, first: int, source: Source) -> None:
        for patient in range(first, first + 5):
            self.request(0, slot, f"p{patient}", source, None)

    @rule(token=TOKENS, reason=REASONS)
    def cancel(self, token: int, reason: str | None) -> None:
        self.say("CancelToken", token_id=self.token_id(token), reason=reason)

    @rule(command_type=st.sampled_from(["MarkNoShow", "CheckIn", "CheckIn", "CompleteConsultation"]), token=TOKENS)
    def mark(self, command_type: str, token: int) -> None:
        self.say(command_type, token_id=self.token_id(token))

    @rule(doctor=DOCTORS, days=DAYS_AHEAD, slot=SLOTS)
    def call(self, doctor: str, days: int, slot: str) -> None:
        self.say("CallNext", doctor_id=doctor, date=self.date(days), slot=slot)

    @rule(doctor=DOCTORS, days=DAYS_AHEAD, slot=SLOTS, capacity=CAPACITIES)
    def set_capacity(self, doctor: str, days: int, slot: str, capacity: int) -> None:
        self.say("SetSlotCapacity", doctor_id=doctor, date=self.date(days), slot=slot, capacity=capacity)

    @rule(doctor=DOCTORS, days=DAYS_AHEAD, slot=st.none() | SLOTS, available=st.booleans(), reason=REASONS)
    def set_availability(self, doctor: str, days: int, slot: str | None, available: bool, reason: str | None) -> None:
        date = self.date(days)
        self.say("SetDoctorAvailability", doctor_id=doctor, date=date, slot=slot, available=available, reason=reason)

    @rule(days=st.sampled_from([0, 1, -1]), slot=SLOTS)
    def close(self, days: int, slot: str) -> None:
        self.say("CloseSlot", date=self.date(days), slot=slot)

    @rule(which=st.integers(0, 30))
    def say_again(self, which: int) -> None:
        self.send(self.said[-1 - which % len(self.said)])

    @rule(which=st.integers(0, 30), token=TOKENS)
    def reuse_an_id(self, which: int, token: int) -> None:
        used = self.said[-1 - which % len(self.said)].id
        data = {"facility_id": "h", "department_id": "d", "token_id": self.token_id(token)}
        self.send(make_command("CheckIn", used, data))

    @rule(days=st.sampled_from([1, 1, 1, 2, 3, 7, 8, 9, -1, -3, -9]))
    def let_time_jump(self, days: int) -> None:
        self.timestamp_ms += days * DAY_MS
        self.day = max(self.day, day_of_timestamp(self.timestamp_ms))


def test_invariants_hold_whatever_is_said(make_engine: Callable[[], Engine]) -> None:
    run_state_machine_as_test(
        lambda: Department(make_engine()),  # type: ignore[arg-type]  # it is called, as the type would be
        settings=settings(
            max_examples=150,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
