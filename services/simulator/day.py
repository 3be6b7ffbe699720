"""The plan of a day: who works, who comes, and what goes wrong, drawn from a seed before anything is sent.

All chance is here. How the day then goes follows from this plan and the engine's answers alone (`department.py`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from hashlib import blake2b
from random import Random
from typing import NamedTuple

from schemas.words import Source, Weekday

DEFAULT_SEED = 29  # its day has every event, and every reason for one, that a day can have
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
OPENS_MS = 6 * HOUR_MS  # doctors are registered, then what was booked ahead
LIVE_MS = 7 * HOUR_MS + 30 * MINUTE_MS

DEPARTMENTS = (
    "cardiology",
    "orthopaedics",
    "paediatrics",
    "general-medicine",
    "dermatology",
    "ent",
    "ophthalmology",
    "gynaecology",
    "neurology",
    "urology",
)
_NAMES = (  # noqa: SIM905  a list of names reads better so
    "Rao Iyer Menon Shah Bose Khan Nair Das Gupta Reddy Pillai Sethi Joshi Mehta Kapoor Varma Ghosh Patel Hegde Singh "
    "Banerjee Thomas Kulkarni Mishra Desai Chopra Naidu Fernandes Saxena Dutta Shetty Ahmed Bhat Verma Sinha Prasad"
).split()
_MORNING = ("09:00-10:00", "10:00-11:00", "11:00-12:00", "12:00-13:00")
_AFTERNOON = ("14:00-15:00", "15:00-16:00", "16:00-17:00")
SLOTS = (*_MORNING, *_AFTERNOON)
_SLOT_SHARES = (22, 25, 18, 10, 10, 9, 6)  # percent of the day's patients: the morning peaks
_PINNED = {Source.EMERGENCY: 0.25, Source.PAID: 0.25, Source.FOLLOW_UP: 0.5, Source.ONLINE: 0.08}
_BOOKED_AHEAD, _CANCELS, _BOOKS_TWICE, _SENT_AGAIN = 0.75, 0.08, 0.015, 0.03
_WANDERS_OFF, _TAPS_TWICE, _TRIES_LATER_SLOT = 0.02, 0.01, 0.3
_ENDED_BY_THE_NEXT_CALL = 0.35


class Incident(StrEnum):
    """What makes a department's day its own."""

    DOCTOR_LATE = "a doctor is late"
    DOCTOR_LEAVES = "a doctor leaves, later another one helps out"
    CAPACITY_RAISED = "a doctor takes two more, another one drops the last slot"
    CAPACITY_LOWERED = "a doctor takes two fewer, the desk makes mistakes"


class Session(NamedTuple):
    """A slot that a doctor works, and how many patients they take in it."""

    slot: str
    capacity: int
    weekdays: tuple[Weekday, ...] | None = None


@dataclass(frozen=True)
class Habits:
    """What people are like; the usual ones, if nothing else is said.

    Attributes:
        shares: who comes, per cent by class.
        stays_away: the share of those who booked that does not come.
        spread: of consultations, as the standard deviation of their logarithm; 0.4 is even, 1 has a long tail.
        takes_thrice: the share of patients whose consultation is three times as long.
        comes_late: the share of doctors who begin their day late.
        late_minutes: by how much, on average; exponential, so now and then by far.
        differ: how much quicker or slower than the others a doctor is at most, as a factor: 1.5 is from 2/3 to 3/2.
    """

    shares: Mapping[Source, int] = field(
        default_factory=lambda: {
            Source.ONLINE: 35,
            Source.WALK_IN: 30,
            Source.FOLLOW_UP: 20,
            Source.PAID: 12,
            Source.EMERGENCY: 3,
        }
    )
    stays_away: float = 0.10
    spread: float = 0.4
    takes_thrice: float = 0.0
    comes_late: float = 0.0
    late_minutes: float = 0.0
    differ: float = 1.0


@dataclass(frozen=True)
class Doctor:
    """A doctor's day.

    Attributes:
        late_ms: how long after the first slot's start they begin.
        slowness: how long a consultation takes them, as a factor.
    """

    doctor_id: str
    name: str
    sessions: Sequence[Session]
    late_ms: int = 0
    slowness: float = 1.0


@dataclass(frozen=True)
class Patient:
    """What a patient means to do.

    Attributes:
        pin: the doctor that they insist on.
        asks_ms: when they ask for a token, since midnight.
        comes_ms: when they arrive; None for who stays away.
        cancels_ms: when they give the token back, if they still have it.
        consultation_ms: how long the doctor takes.
        pause_ms: how long the doctor takes until the next one.
        ended_by_next_call: the doctor calls the next one instead of saying that this one is done.
        sent_again: the portal sends the request twice.
        books_twice: asks again for the same slot.
        taps_twice: checks in twice.
        wanders_off: is not there when called.
        tries_later_slot: asks for the next slot if this one closes first.
    """

    patient_id: str
    source: Source
    slot: str
    pin: str | None
    asks_ms: int
    comes_ms: int | None
    cancels_ms: int | None
    consultation_ms: int
    pause_ms: int
    ended_by_next_call: bool
    sent_again: bool
    books_twice: bool
    taps_twice: bool
    wanders_off: bool
    tries_later_slot: bool


@dataclass(frozen=True)
class DepartmentPlan:
    """One department's day."""

    department_id: str
    incidents: frozenset[Incident]
    doctors: Sequence[Doctor]
    helper: Doctor
    patients: Sequence[Patient]
    closing_ms: dict[str, int]
    number: int


@dataclass(frozen=True)
class Day:
    """A day to be played: the same arguments give the same plan.

    Attributes:
        seed: all chance comes from it.
        day: `yyyy-mm-dd`, the date of the slots.
        run: part of the command and patient ids, so that a system can see more than one day; at most 16 characters.
        departments: 1 to 10.
        habits: what people are like.
    """

    seed: int
    day: str
    doctors: int = 12
    patients: int = 400
    departments: int = 4
    facility_id: str = "blr1"
    run: str = "day"
    habits: Habits = field(default_factory=Habits)

    def __post_init__(self) -> None:
        """Refuse what no plan can be made for."""
        date.fromisoformat(self.day)
        if not 1 <= self.departments <= len(DEPARTMENTS):
            raise ValueError(f"departments: from 1 to {len(DEPARTMENTS)}, not {self.departments}")
        if not self.departments <= self.doctors <= 150 * self.departments:
            raise ValueError(
                f"doctors: {self.departments} departments need from {self.departments} "
                f"to {150 * self.departments}, not {self.doctors}"
            )
        if self.patients < 0:
            raise ValueError(f"patients: not {self.patients}")
        if not 1 <= len(self.run) <= 16:
            raise ValueError(f"run: from 1 to 16 characters, not {len(self.run)}")
        if not re.fullmatch("[a-z0-9-]{1,32}", self.facility_id):
            raise ValueError(f"facility: up to 32 of a-z, 0-9 and -, not {self.facility_id}")

    def plan(self) -> list[DepartmentPlan]:
        """Draw the plan of each department."""
        return [_Draw(self, number).department() for number in range(self.departments)]


def clock_ms(time: str) -> int:
    """Give `HH:MM` in milliseconds since midnight."""
    return int(time[:2]) * HOUR_MS + int(time[3:]) * MINUTE_MS


def slot_starts_ms(slot: str) -> int:
    """Give a slot's start in milliseconds since midnight."""
    return clock_ms(slot[:5])


def slot_ends_ms(slot: str) -> int:
    """Give a slot's end in milliseconds since midnight."""
    return clock_ms(slot[6:])


def _share(total: int, number: int, parts: int) -> int:
    return total // parts + (number < total % parts)


@dataclass
class _Draw:
    """Draws one department's day."""

    day: Day
    number: int
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.department_id = DEPARTMENTS[self.number]
        self.random = Random(f"{self.day.seed}/{self.department_id}")  # noqa: S311  a day, not a secret
        self.doctors = _share(self.day.doctors, self.number, self.day.departments)
        self.patients = _share(self.day.patients, self.number, self.day.departments)
        self.capacity = max(1, round(0.18 * self.patients / self.doctors))

    def department(self) -> DepartmentPlan:
        doctors = [self._doctor(number) for number in range(self.doctors)]
        departments = self.day.departments
        incidents = list(Incident) * -(-departments // len(Incident))
        helper = Doctor("dr-locum", "Dr Locum", [Session(slot, self.capacity) for slot in SLOTS[2:4]])
        return DepartmentPlan(
            department_id=self.department_id,
            incidents=frozenset(incidents[self.number :: departments]),
            doctors=doctors,
            helper=helper,
            patients=[self._patient(number, doctors) for number in range(self.patients)],
            closing_ms={slot: slot_ends_ms(slot) + self._minutes(0, 8) for slot in SLOTS},
            number=self.number,
        )

    def _doctor(self, number: int) -> Doctor:
        place = self.number + number * self.day.departments
        name, again = _NAMES[place % len(_NAMES)], place // len(_NAMES)
        sessions = [Session(slot, self._capacity()) for slot in _MORNING]
        if number % 3 != 2:
            weekday = list(Weekday)[date.fromisoformat(self.day.day).weekday()]
            weekdays = tuple(day for day in Weekday if day is weekday or self.random.random() < 0.5)
            sessions += [Session(slot, self._capacity(), weekdays) for slot in _AFTERNOON]
        doctor_id = f"dr-{name.lower()}{again or ''}"
        late_ms, slowness = self._ways(doctor_id)
        return Doctor(doctor_id, f"Dr {name}", sessions, late_ms, slowness)

    def _ways(self, doctor_id: str) -> tuple[int, float]:
        """How late this doctor is today, and how slow as ever; drawn apart, so that all else stays the same."""
        habits = self.day.habits
        today = Random(f"{self.day.seed}/{self.day.day}/{doctor_id}")  # noqa: S311  likewise
        as_ever = Random(doctor_id)  # noqa: S311  likewise
        is_late = today.random() < habits.comes_late
        late_ms = round(today.expovariate(1 / habits.late_minutes) * MINUTE_MS) if is_late else 0
        return late_ms, habits.differ ** as_ever.uniform(-1, 1)

    def _capacity(self) -> int:
        return min(500, max(1, self.capacity + self.random.choice((-1, 0, 0, 1))))

    def _patient(self, number: int, doctors: Sequence[Doctor]) -> Patient:
        source = self.random.choices(list(self.day.habits.shares), list(self.day.habits.shares.values()))[0]
        slot = self.random.choices(SLOTS, _SLOT_SHARES)[0]
        asks_ms = self._asks_ms(source, slot)
        booked = source not in {Source.WALK_IN, Source.EMERGENCY}
        return Patient(
            patient_id=self._patient_id(number),
            source=source,
            slot=slot,
            pin=self._pin(source, slot, doctors),
            asks_ms=asks_ms,
            comes_ms=self._comes_ms(asks_ms, slot, booked=booked),
            cancels_ms=asks_ms + self._minutes(10, 120) if booked and self._happens(_CANCELS) else None,
            consultation_ms=self._consultation_ms(),
            pause_ms=self._minutes(0, 1),
            ended_by_next_call=self._happens(_ENDED_BY_THE_NEXT_CALL),
            sent_again=booked and self._happens(_SENT_AGAIN),
            books_twice=booked and self._happens(_BOOKS_TWICE),
            taps_twice=self._happens(_TAPS_TWICE),
            wanders_off=self._happens(_WANDERS_OFF),
            tries_later_slot=self._happens(_TRIES_LATER_SLOT),
        )

    def _patient_id(self, number: int) -> str:
        name = f"{self.day.run}/{self.day.seed}/{self.department_id}/{number}"
        return f"p-{blake2b(name.encode(), digest_size=6).hexdigest()}"

    def _pin(self, source: Source, slot: str, doctors: Sequence[Doctor]) -> str | None:
        working = [doctor.doctor_id for doctor in doctors if any(session.slot == slot for session in doctor.sessions)]
        return self.random.choice(working) if working and self._happens(_PINNED.get(source, 0)) else None

    def _asks_ms(self, source: Source, slot: str) -> int:
        starts_ms = slot_starts_ms(slot)
        match source:
            case Source.EMERGENCY:
                return starts_ms + self._minutes(-15, 30)
            case Source.WALK_IN:
                return starts_ms + self._minutes(-40, 30)
            case _ if self._happens(_BOOKED_AHEAD):
                return OPENS_MS + self._minutes(10, 85)
            case _:
                return self.random.randrange(LIVE_MS, starts_ms - 20 * MINUTE_MS)

    def _comes_ms(self, asks_ms: int, slot: str, *, booked: bool) -> int | None:
        if not booked:
            return asks_ms + self._minutes(1, 4)
        if self._happens(self.day.habits.stays_away):
            return None
        late_ms = round(self.random.gauss(-12, 12) * MINUTE_MS)
        return max(asks_ms + 2 * MINUTE_MS, slot_starts_ms(slot) + min(max(late_ms, -45 * MINUTE_MS), 30 * MINUTE_MS))

    def _consultation_ms(self) -> int:
        usual_minutes = min(14.0, 50 / self.capacity)
        spread = self.day.habits.spread
        minutes = usual_minutes * self.random.lognormvariate(-spread * spread / 2, spread)
        if self.day.habits.takes_thrice and self._happens(self.day.habits.takes_thrice):
            return round(3 * minutes * MINUTE_MS)
        return round(min(max(minutes, usual_minutes / 4), usual_minutes * 10 * spread) * MINUTE_MS)

    def _minutes(self, least: float, most: float) -> int:
        return round(self.random.uniform(least, most) * MINUTE_MS)

    def _happens(self, chance: float) -> bool:
        return self.random.random() < chance
