"""What a hall would show: departments, pools, doctors and tokens, from the happenings of a day and nothing else."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from allocation_core.calendar import day_of_date, weekday_of
from schemas.words import Source, Status
from services.simulator.play import Happening, What

TAKES_A_SEAT = frozenset({Status.CONFIRMED, Status.CHECKED_IN, Status.CALLED, Status.COMPLETED})
_NOT_YET_CALLED = frozenset({Status.WAITLISTED, Status.CHECKED_IN})


class Chapter(NamedTuple):
    """One event in a token's story.

    Attributes:
        type: `TokenConfirmed`, …
        status: the token's, from then on.
        at_ms: virtual time, since the day's midnight.
        answered_ms: real time from the command to the answer.
    """

    type: str
    status: Status
    at_ms: int
    answered_ms: float
    reason: str | None = None


@dataclass(slots=True, eq=False)
class Token:
    """One patient's place in a pool, as the last event about it has it; `story` is how it came to that."""

    token_no: int
    slot: str
    source: Source
    status: Status
    doctor_id: str | None
    present: bool = False
    story: list[Chapter] = field(default_factory=list)

    @property
    def is_seated(self) -> bool:
        """Whether it takes a seat."""
        return self.doctor_id is not None and self.status in TAKES_A_SEAT

    @property
    def is_here(self) -> bool:
        """Whether the patient sits in the hall: checked in, not yet called."""
        return self.present and self.status in _NOT_YET_CALLED


@dataclass(slots=True)
class Doctor:
    """A doctor and the seats of their slots on the day, by schedule.

    Attributes:
        serving: whom they see now.
    """

    name: str
    schedule: dict[str, int]
    serving: Token | None = None


@dataclass(slots=True)
class Pool:
    """One slot of a department.

    Attributes:
        capacities: set for this day, by doctor.
        away: doctors who are not available.
        taken: seats taken, by doctor.
        queue: patients in the hall whom this doctor will call.
        waiting: on the waitlist.
        here: in the hall, with a seat or waiting for one.
    """

    closed: bool = False
    capacities: dict[str, int] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    taken: Counter[str] = field(default_factory=Counter)
    queue: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    here: int = 0


class Seats(NamedTuple):
    """Seats taken of those offered."""

    taken: int
    offered: int


class Department:
    """One department on the day of the board."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.doctors: dict[str, Doctor] = {}
        self.pools: dict[str, Pool] = {}
        self.tokens: dict[str, Token] = {}

    @property
    def waiting(self) -> int:
        """Tokens on a waitlist."""
        return sum(pool.waiting for pool in self.pools.values())

    @property
    def here(self) -> int:
        """Patients in the hall."""
        return sum(pool.here for pool in self.pools.values())

    def seats_with(self, doctor_id: str, slot: str) -> Seats:
        """Give the seats of a session.

        Of a doctor who is away, or no longer works the slot, no more seats are offered than were taken before.
        """
        pool = self.pools.get(slot) or Pool()
        taken = pool.taken[doctor_id]
        scheduled = self.doctors[doctor_id].schedule.get(slot) if doctor_id in self.doctors else None
        if scheduled is None or doctor_id in pool.away:
            return Seats(taken, taken)
        return Seats(taken, pool.capacities.get(doctor_id, scheduled))

    def seats(self, slot: str) -> Seats:
        """Give the seats of a pool."""
        sessions = [self.seats_with(doctor_id, slot) for doctor_id in self.doctors]
        return Seats(sum(session.taken for session in sessions), sum(session.offered for session in sessions))

    def is_away(self, doctor_id: str, slot: str) -> bool:
        """Whether the doctor works that slot and is not available."""
        return slot in self.pools and doctor_id in self.pools[slot].away

    def name_of(self, doctor_id: str | None) -> str:
        """Give a doctor's name; the id where no name is known."""
        doctor = self.doctors.get(doctor_id or "")
        return doctor.name if doctor else doctor_id or "nobody"


class Board:
    """All departments on one date.

    Attributes:
        clock_ms: virtual time of the last happening, since the day's midnight.
        patients: everybody who asked for a token; ids, so nothing to show.
        refusals: by reason.
        unreadable: records that were no commands.
    """

    def __init__(self, date: str) -> None:
        self.date = date
        self.clock_ms = 0
        self.departments: dict[str, Department] = {}
        self.patients: set[str] = set()
        self.refusals: Counter[str] = Counter()
        self.unreadable = 0
        self._answered_ms = 0.0
        self._weekday = weekday_of(day_of_date(date))

    @property
    def slots(self) -> list[str]:
        """All slots of the day, the first one first."""
        slots = {slot for department in self.departments.values() for slot in department.pools}
        return sorted(slots)

    def take(self, happening: Happening) -> None:
        """Take in the next happening of the day."""
        self.clock_ms = max(self.clock_ms, happening.at_ms)
        match happening.what:
            case What.COMMAND:
                if happening.type == "RequestToken":
                    self.patients.add(happening.data["patient_id"])
            case What.DEAD_LETTER:
                self.unreadable += 1
            case What.EVENT:
                self._take_event(happening)

    def department_of(self, data: Mapping[str, Any]) -> Department:
        """Give the department that a message is about."""
        name: str = data["department_id"]
        return self.departments.setdefault(name, Department(name))

    def _take_event(self, event: Happening) -> None:
        if event.answered_ms is not None:  # the further events of a command follow its first
            self._answered_ms = event.answered_ms
        data = event.data
        if event.type == "CommandRejected":
            self.refusals[data["reason"]] += 1
        elif event.type == "DoctorRegistered":
            self._register(self.department_of(data), data)
        elif data["date"] == self.date:
            department = self.department_of(data)
            pool = department.pools.setdefault(data["slot"], Pool())
            match event.type:
                case "SlotCapacityChanged":
                    pool.capacities[data["doctor_id"]] = data["capacity"]
                case "DoctorAvailabilityChanged":
                    (pool.away.discard if data["available"] else pool.away.add)(data["doctor_id"])
                case "SlotClosed":
                    pool.closed = True
                case _:
                    self._take_token_event(department, event)

    def _register(self, department: Department, data: Mapping[str, Any]) -> None:
        schedule = {
            entry["slot"]: entry["capacity"]
            for entry in data["schedule"]
            if self._weekday in entry.get("weekdays", (self._weekday,))
        }
        for slot in schedule:
            department.pools.setdefault(slot, Pool())
        doctor = department.doctors.setdefault(data["doctor_id"], Doctor(data["name"], schedule))
        doctor.name, doctor.schedule = data["name"], schedule

    def _take_token_event(self, department: Department, event: Happening) -> None:
        data, status = event.data, Status(event.data["status"])
        token = department.tokens.get(data["token_id"])
        if token is None:
            token = Token(data["token_no"], data["slot"], Source(data["source"]), status, data["doctor_id"])
            department.tokens[data["token_id"]] = token
        else:
            self._count(department, token, -1)
            token.source, token.status, token.doctor_id = Source(data["source"]), status, data["doctor_id"]
        token.present = token.present or event.type == "TokenCheckedIn"
        token.story.append(Chapter(event.type, status, event.at_ms, self._answered_ms, data.get("reason")))
        self._count(department, token, 1)

    def _count(self, department: Department, token: Token, step: int) -> None:
        pool = department.pools[token.slot]
        if token.is_seated and token.doctor_id is not None:
            pool.taken[token.doctor_id] += step
        if token.status is Status.CHECKED_IN and token.doctor_id is not None:
            pool.queue[token.doctor_id] += step
        pool.waiting += step * (token.status is Status.WAITLISTED)
        pool.here += step * token.is_here
        doctor = department.doctors.get(token.doctor_id or "")
        if doctor is not None and token.status is Status.CALLED:
            doctor.serving = token if step > 0 else None  # R14: the one before is completed first
