"""The simulated day: believable, complete, and the same for the same seed."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic_core import from_json

from schemas.commands import COMMANDS
from schemas.words import Source
from services.auditor.audit import audit
from services.auditor.records import Kind
from services.simulator.day import DEFAULT_SEED, SLOTS, Day
from services.simulator.world import World
from tests.services.memory import MemoryEngine

DATE = "2026-11-23"


@dataclass
class Played:
    """A day played against the pure model."""

    day: Day
    engine: MemoryEngine = field(default_factory=lambda: MemoryEngine(partitions=4))
    sent: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    commands: Counter[str] = field(default_factory=Counter)
    events: list[dict[str, Any]] = field(default_factory=list)
    waits_ms: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        world = World(self.day)
        while (step := world.next_step()) is not None:
            learned = []
            for posting in step.postings:
                self.sent.append((posting.key, posting.value))
                self.commands[posting.type] += 1
                _, answers = self.engine.take(posting.key, posting.value)
                learned += [from_json(answer.value or b"") for answer in answers if "events" in answer.topic]
            self.events += learned
            world.learn(learned)
        self.waits_ms = world.waits_ms

    @property
    def dead_letters(self) -> int:
        return sum(len(records) for (kind, _), records in self.engine.topics.items() if kind is Kind.DEAD_LETTERS)

    def count(self, kind: str, **data: str) -> int:
        return sum(event["type"] == f"opd.{kind}.v1" and data.items() <= event["data"].items() for event in self.events)

    def share(self, kind: str) -> float:
        return self.count(kind) / (self.count("TokenConfirmed") + self.count("TokenWaitlisted"))


@pytest.fixture(scope="module")
def played() -> Played:
    return Played(Day(DEFAULT_SEED, DATE))


def test_the_day_of_the_demo_shows_every_command_event_and_kind_of_bad_input(played: Played) -> None:
    assert set(played.commands) == {command.__name__ for command in COMMANDS} | {"unreadable"}
    assert {event["type"][4:-3] for event in played.events} == {
        "TokenConfirmed",
        "TokenWaitlisted",
        "TokenPreempted",
        "TokenPromoted",
        "TokenReassigned",
        "TokenUpgraded",
        "TokenCancelled",
        "TokenNoShow",
        "TokenCheckedIn",
        "TokenCalled",
        "TokenCompleted",
        "TokenExpired",
        "DoctorRegistered",
        "SlotCapacityChanged",
        "DoctorAvailabilityChanged",
        "SlotClosed",
        "CommandRejected",
    }
    assert played.dead_letters == played.commands["unreadable"] == 6


@pytest.mark.parametrize(
    "reason", ["CANCELLATION", "NO_SHOW", "CAPACITY_RAISED", "DOCTOR_AVAILABLE", "DOCTOR_REGISTERED", "UPGRADED"]
)
def test_the_day_of_the_demo_promotes_for_every_reason(played: Played, reason: str) -> None:
    assert played.count("TokenPromoted", reason=reason) >= 1


@pytest.mark.parametrize(
    "reason",
    [
        "DUPLICATE_COMMAND",
        "ID_REUSED",
        "DATE_IN_PAST",
        "DATE_TOO_FAR",
        "DEPARTMENT_UNKNOWN",
        "SLOT_UNKNOWN",
        "SLOT_CLOSED",
        "DOCTOR_UNKNOWN",
        "DUPLICATE_PATIENT",
        "TOKEN_UNKNOWN",
        "INVALID_TRANSITION",
        "QUEUE_EMPTY",
    ],
)
def test_the_day_of_the_demo_is_refused_for_every_reason_that_a_day_can_have(played: Played, reason: str) -> None:
    assert played.count("CommandRejected", reason=reason) >= 1


def test_the_day_of_the_demo_takes_seats_for_both_reasons(played: Played) -> None:
    for kind in ("TokenPreempted", "TokenReassigned"):
        for reason in ("EMERGENCY", "DOCTOR_UNAVAILABLE"):
            assert played.count(kind, reason=reason) >= 1, (kind, reason)


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_day_is_believable(seed: int) -> None:
    played = Played(Day(seed, DATE))

    tokens = played.count("TokenConfirmed") + played.count("TokenWaitlisted")
    assert 390 <= tokens <= 430
    assert 0.04 <= played.share("TokenNoShow") <= 0.12
    assert 0.03 <= played.share("TokenCancelled") <= 0.10
    assert 0.02 <= played.share("TokenExpired") <= 0.20
    assert 0.65 <= played.share("TokenCompleted") <= 0.90
    assert played.count("TokenPreempted", reason="EMERGENCY") >= 1
    assert played.count("TokenPromoted") >= 10
    assert played.count("CommandRejected") / len(played.sent) < 0.05
    assert 10 <= played.waits_ms[len(played.waits_ms) // 2] / 60_000 <= 60
    assert audit(played.engine).holds


def test_patients_come_by_class_and_the_morning_peaks() -> None:
    patients = [patient for plan in Day(1, DATE, patients=4000).plan() for patient in plan.patients]

    sources = Counter(patient.source for patient in patients)
    slots = Counter(patient.slot for patient in patients)
    assert 0.02 <= sources[Source.EMERGENCY] / len(patients) <= 0.04
    assert sources.most_common(1)[0][0] is Source.ONLINE
    assert slots.most_common(1)[0][0] == "10:00-11:00"
    assert sum(slots[slot] for slot in SLOTS[:3]) > 0.6 * len(patients)
    assert len({patient.patient_id for patient in patients}) == len(patients)


def test_the_same_seed_plays_the_same_day_to_the_byte() -> None:
    assert Played(Day(3, DATE)).sent == Played(Day(3, DATE)).sent


def test_another_seed_plays_another_day() -> None:
    assert Played(Day(3, DATE)).sent != Played(Day(4, DATE)).sent


def test_another_run_of_the_same_seed_has_ids_and_patients_of_its_own() -> None:
    first, second = (Played(Day(3, DATE, patients=60, run=run)) for run in ("one", "two"))

    def ids(played: Played) -> set[str]:
        return {event["causationid"] for event in played.events}

    def patients(played: Played) -> set[str]:
        named = {event["data"].get("patient_id", "") for event in played.events}
        return {patient for patient in named if patient.startswith("p-") and len(patient) == 14}

    assert not ids(first) & ids(second)
    assert not patients(first) & patients(second)
    assert first.commands == second.commands


@pytest.mark.parametrize(
    "day",
    [
        Day(1, DATE, doctors=1, patients=0, departments=1),
        Day(1, DATE, doctors=1, patients=60, departments=1),
        Day(1, DATE, doctors=10, patients=50, departments=10),
        Day(1, "2026-11-29", doctors=100, patients=300, departments=2),
    ],
    ids=["nobody comes", "one doctor", "ten departments", "many doctors on a Sunday"],
)
def test_days_of_any_size_come_to_an_end(day: Day) -> None:
    played = Played(day)

    assert played.count("SlotClosed") >= 5 * day.departments
    assert audit(played.engine).holds


def test_a_day_played_twice_is_refused_but_comes_to_its_end() -> None:
    engine = Played(Day(1, DATE, patients=60)).engine

    again = Played(Day(1, DATE, patients=60, run="again"), engine)

    assert again.count("CommandRejected", reason="SLOT_CLOSED") >= 50
    assert not again.count("TokenConfirmed")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Day(1, DATE, departments=0), "departments: from 1 to 10, not 0"),
        (lambda: Day(1, DATE, doctors=3), "4 departments need from 4 to 600, not 3"),
        (lambda: Day(1, DATE, patients=-1), "patients: not -1"),
        (lambda: Day(1, DATE, run="x" * 17), "run: from 1 to 16 characters, not 17"),
        (lambda: Day(1, DATE, facility_id="St. Mary"), "facility: up to 32 of a-z, 0-9 and -, not St. Mary"),
        (lambda: Day(1, "2026-02-30"), "day is out of range"),
    ],
)
def test_a_day_that_cannot_be_is_refused(make: Callable[[], Day], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()
