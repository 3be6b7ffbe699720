"""Seeded random days: commands that lead engines into every corner of the contract.

A stream depends on its seed alone, not on what any engine says to it. So it guesses the ids of tokens: from the dates
and the number of requests it can, and a wrong guess is a corner too. Several departments are told at once, each by one
of the `SCENES`; when one is over, the next department begins.
"""

from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from allocation_core.calendar import DAY_MS, date_of_day, day_of_timestamp, token_id
from schemas.commands import Command
from schemas.words import LAST_TIMESTAMP_MS, Source, Weekday
from tests.core.commands import make_command

MONDAY_MS = 1_795_392_000_000  # 2026-11-23T00:00:00Z
LAST_DAY = day_of_timestamp(LAST_TIMESTAMP_MS)
FACILITY = "blr1"
SLOTS = ["09:00-10:00", "10:00-11:00", "23:30-24:00"]
DOCTORS = ["a", "b", "c", "dr-4"]
SENDERS = ["portal/web", "portal/web", "kiosk"]
TEXTS = ["ill", "überfüllt, später", 'a "quoted" \\ reason\nof two lines', "\u007f\u0001", "診療 🏥", "x" * 200]
HOSTILE_TOKEN_IDS = [
    ".",
    "-",
    "9" * 128,
    "{department}.20261123.01",
    "{department}.20261123.0",
    "{department}.20261123.",
    "{department}.20261123.1.",
    "{department}.20261123.-1",
    "{department}.20261123.1-",
    "{department}.20261123.00000000000000000000000000001",
    "{department}.20261123.18446744073709551617",
    "{department}.20261123.999999999999999",
    "{department}.20261123.1e1",
    "{department}.20261123.0x1",
    "{department}.20261131.1",
    "{department}.00000000.1",
    "{department}.99991231.1",
    "{department}.2026-11-23.1",
    "{department}..1",
    "blr1.elsewhere.20261123.1",
    "blr2.{department}.20261123.1",
]

Said = tuple[Command, int]


class Desk:
    """Whoever sends a department's commands.

    Attributes:
        now_ms: the clock of its records' timestamps.
        pause_ms: the longest time between two commands.
        day: the department's (R3).
        requests: how many were made, by date; more than there are tokens.
        said: the last ones.
    """

    def __init__(self, rng: Random, department_id: str) -> None:
        self.rng = rng
        self.department_id = department_id
        self.pause_ms = 10_000
        self.now_ms = MONDAY_MS + rng.randrange(7 * DAY_MS)
        self.day = day_of_timestamp(self.now_ms)
        self.requests: dict[str, int] = {}
        self.said: deque[Command] = deque(maxlen=120)
        self.number = 0

    def say(self, command_type: str, **data: Any) -> Said:
        """Send a command with an id of its own."""
        self.number += 1
        return self.send(self.make(command_type, f"{self.department_id}-{self.number}", **data))

    def make(self, command_type: str, command_id: str, **data: Any) -> Command:
        department = {"facility_id": FACILITY, "department_id": self.department_id}
        return make_command(command_type, command_id, {**department, **data}, self.rng.choice(SENDERS))

    def send(self, command: Command) -> Said:
        """Send a command as it is, some time later than the last, seldom with an older timestamp."""
        self.now_ms += self.rng.randrange(self.pause_ms)
        timestamp_ms = self.now_ms
        if self.rng.random() < 0.02:
            timestamp_ms = self.rng.choice([timestamp_ms - self.rng.randrange(10 * DAY_MS), 0])
        self.day = max(self.day, day_of_timestamp(timestamp_ms))
        self.said.append(command)
        return command, timestamp_ms

    def let_days_go_by(self, days: int) -> None:
        self.now_ms += days * DAY_MS

    def date(self) -> str:
        """Give a date that is likely to be allowed, and sometimes just not."""
        if self.rng.random() < 0.002:
            return self.rng.choice(["0001-01-01", "9999-12-31"])
        offsets = (0, 1, -1, 2, 7, 180, -2, 181)
        offset = self.rng.choices(offsets, weights=(60, 12, 14, 4, 3, 2, 2, 1))[0]
        return date_of_day(min(self.day + offset, LAST_DAY))

    def request(self, date: str, slot: str, patient_id: str, source: Source, doctor_id: str | None = None) -> Said:
        self.requests[date] = self.requests.get(date, 0) + 1
        return self.say("RequestToken", date=date, slot=slot, patient_id=patient_id, source=source, doctor_id=doctor_id)

    def some_token_id(self) -> str:
        """Guess the id of a token, mostly of a late date, sometimes of one long forgotten."""
        if not self.requests or self.rng.random() < 0.03:
            hostile = self.rng.choice(HOSTILE_TOKEN_IDS)
            return hostile.replace("{department}", f"{FACILITY}.{self.department_id}")
        dates = list(self.requests)[0 if self.rng.random() < 0.1 else -6 :]
        date = self.rng.choices(dates, weights=[self.requests[date] for date in dates])[0]
        return self.token_id(date, self.rng.randint(1, self.requests[date]))

    def token_id(self, date: str, token_no: int) -> str:
        return token_id(FACILITY, self.department_id, date, token_no)


def busy_days(desk: Desk) -> Iterator[Said]:
    """Few doctors, few seats and few patients, so that all that can happen between them does."""
    rng = desk.rng
    desk.pause_ms = 300_000
    doctors, slots = DOCTORS[: rng.randint(1, 4)], SLOTS[: rng.randint(1, 3)]
    if rng.random() < 0.5:
        yield from (_register(desk, doctor, slots) for doctor in doctors)
    steps: list[tuple[int, Callable[[], Said]]] = [
        (90, lambda: _request(desk, rng.choice(slots), doctors)),
        (32, lambda: desk.say("CheckIn", token_id=desk.some_token_id())),
        (20, lambda: desk.say("CallNext", doctor_id=_one_of(rng, doctors), date=desk.date(), slot=rng.choice(slots))),
        (10, lambda: desk.say("CompleteConsultation", token_id=desk.some_token_id())),
        (26, lambda: desk.say("CancelToken", token_id=desk.some_token_id(), reason=_maybe_text(rng))),
        (10, lambda: desk.say("MarkNoShow", token_id=desk.some_token_id())),
        (8, lambda: _register(desk, _one_of(rng, doctors), slots)),
        (10, lambda: _set_capacity(desk, _one_of(rng, doctors), rng.choice(slots))),
        (12, lambda: _set_availability(desk, _one_of(rng, doctors), rng.choice([None, *slots]))),
        (1, lambda: desk.say("CloseSlot", date=desk.date(), slot=rng.choice(slots))),
        (8, lambda: _again(desk)),
    ]
    weights = [weight for weight, _ in steps]
    for _ in range(rng.randint(300, 1500)):
        if rng.random() < 0.008:
            desk.let_days_go_by(rng.choice([1, 1, 1, 1, 2, 3, 7, 7, 8, 9, 40]))
        yield rng.choices(steps, weights=weights)[0][1]()
    desk.now_ms = LAST_TIMESTAMP_MS - DAY_MS
    for _ in range(20):
        yield rng.choices(steps, weights=weights)[0][1]()


def quiet_day(desk: Desk) -> Iterator[Said]:
    """A few patients and what becomes of them, before and after their slot is closed."""
    rng, slot = desk.rng, SLOTS[2]
    date = date_of_day(desk.day)
    for doctor in "ab":
        schedule = [{"slot": slot, "capacity": 6}, {"slot": SLOTS[0], "capacity": 1}]
        yield desk.say("RegisterDoctor", doctor_id=doctor, name=doctor, schedule=schedule)
    for patient in range(16):
        yield desk.request(date, slot, f"p{patient}", rng.choice(list(Source)))
    for kind, count in (("CheckIn", 12), ("CallNext", 4), ("CloseSlot", 1), ("CallNext", 16)):
        for _ in range(count):
            if kind == "CloseSlot":
                yield desk.say("SetDoctorAvailability", doctor_id="a", date=date, available=rng.random() < 0.5)
                yield desk.say("CloseSlot", date=date_of_day(desk.day + 181), slot=slot)
                yield desk.say("CloseSlot", date=date, slot=slot)
                yield desk.say("SetDoctorAvailability", doctor_id="a", date=date, available=rng.random() < 0.5)
            elif kind == "CheckIn":
                yield desk.say("CheckIn", token_id=desk.some_token_id())
            else:
                yield desk.say("CallNext", doctor_id=rng.choice("ab"), date=date, slot=slot)
                yield desk.request(date, slot, f"p{rng.randrange(16)}", Source.EMERGENCY)
                for end in ("CompleteConsultation", "MarkNoShow", "CancelToken", "CheckIn"):
                    yield desk.say(end, token_id=desk.some_token_id())


def favourite_doctor(desk: Desk) -> Iterator[Said]:
    """Yesterday's patients want one doctor, while another has room; a week later everything is sent again."""
    rng, slot = desk.rng, SLOTS[0]
    date = date_of_day(desk.day - 1)
    for doctor, capacity in (("a", 3), ("b", 9)):
        yield desk.say("RegisterDoctor", doctor_id=doctor, name=doctor, schedule=[{"slot": slot, "capacity": capacity}])
    yield desk.request(date, slot, "first", Source.WALK_IN)
    for patient in range(3):
        yield desk.request(date, slot, f"p{patient}", Source.PAID, "a")
    yield desk.request(date, slot, "p2", Source.EMERGENCY, "a")
    for _ in range(30):
        pin = rng.choice(["a", "a", None])
        yield desk.request(date, slot, f"p{rng.randrange(15)}", rng.choice([Source.PAID, Source.EMERGENCY]), pin)
        if rng.random() < 0.2:
            yield desk.say("CheckIn", token_id=desk.some_token_id())
    for days in (7, 1):
        desk.let_days_go_by(days)
        for command in list(desk.said)[:20]:
            yield desk.send(command)


def crowded_day(desk: Desk) -> Iterator[Said]:
    """More patients than a waitlist holds, for a handful of seats."""
    rng, slot = desk.rng, SLOTS[0]
    date = date_of_day(desk.day)
    for doctor in "ab":
        yield desk.say("RegisterDoctor", doctor_id=doctor, name=doctor, schedule=[{"slot": slot, "capacity": 3}])
    sources = [Source.PAID, Source.ONLINE, Source.WALK_IN, Source.FOLLOW_UP]
    for patient in range(1010):
        yield desk.request(date, slot, f"p{patient}", rng.choice(sources), rng.choice([None, None, "a", "b"]))
    for patient in range(1010, 1310):
        yield desk.request(date, slot, f"p{patient}", rng.choice([*sources, Source.EMERGENCY]), rng.choice([None, "a"]))
        yield desk.request(date, slot, f"p{rng.randrange(1010)}", rng.choice(list(Source)), rng.choice([None, "b"]))
        action, token = rng.randrange(8), desk.token_id(date, rng.choice([rng.randint(1, 12), rng.randint(1, 1020)]))
        if action < 3:
            yield desk.say("CancelToken", token_id=token)
        elif action < 5:
            yield desk.say("CheckIn", token_id=token)
        elif action == 5:
            capacity = rng.randint(1, 8)
            yield desk.say("SetSlotCapacity", doctor_id=rng.choice("ab"), date=date, slot=slot, capacity=capacity)
        elif action == 6:
            away = rng.random() < 0.5
            yield desk.say("SetDoctorAvailability", doctor_id="b", date=date, available=not away)
        else:
            yield desk.say("CallNext", doctor_id=rng.choice("ab"), date=date, slot=slot)
    yield desk.say("CloseSlot", date=date, slot=slot)


def great_hall(desk: Desk) -> Iterator[Said]:
    """Sessions of 500 seats, whose doctors come and go."""
    rng, slot = desk.rng, SLOTS[1]
    date = date_of_day(desk.day + 1)
    for doctor, capacity in (("a", 500), ("b", 350), ("c", 0)):
        yield desk.say("RegisterDoctor", doctor_id=doctor, name=doctor, schedule=[{"slot": slot, "capacity": capacity}])
    for patient in range(800):
        source = Source.EMERGENCY if rng.random() < 0.1 else rng.choice(list(Source))
        yield desk.request(date, slot, f"p{patient}", source, rng.choice([None] * 6 + ["a", "c"]))
        if patient % 3 == 0:
            yield desk.say("CheckIn", token_id=desk.some_token_id())
        if patient % 7 == 0:
            yield desk.say("CallNext", doctor_id=rng.choice("ab"), date=date, slot=slot)
        if patient % 100 == 99:
            doctor = "a" if patient == 799 else rng.choice("abc")
            for available in (False, True):
                yield desk.say("SetDoctorAvailability", doctor_id=doctor, date=date, available=available)


def many_doctors(desk: Desk) -> Iterator[Said]:
    """As many doctors as a department can have, and some more."""
    rng = desk.rng
    for number in range(203):
        yield _register(desk, f"d{number}", SLOTS)
    for _ in range(200):
        doctor = f"d{rng.randrange(206)}"
        yield _request(desk, rng.choice(SLOTS), [doctor])
        yield desk.say("CancelToken", token_id=desk.some_token_id())
        if rng.random() < 0.2:
            yield _register(desk, doctor, SLOTS)
            yield _set_availability(desk, doctor, None)


SCENES: list[tuple[int, Callable[[Desk], Iterator[Said]]]] = [
    (32, busy_days),
    (24, busy_days),
    (5, quiet_day),
    (4, favourite_doctor),
    (16, crowded_day),
    (13, great_hall),
    (6, many_doctors),
]


def random_commands(seed: int, count: int) -> Iterator[Said]:
    """Give `count` commands with their records' timestamps, the same for the same seed.

    All of the corners need some 20,000.
    """
    rng = Random(seed)
    begun = len(SCENES)
    running = [scene(Desk(rng, f"d{number}")) for number, (_, scene) in enumerate(SCENES)]
    weights = [weight for weight, _ in SCENES]
    for _ in range(count):
        turn = rng.choices(range(len(SCENES)), weights=weights)[0]
        said = next(running[turn], None)
        while said is None:
            running[turn] = SCENES[turn][1](Desk(rng, f"d{begun}"))
            begun += 1
            said = next(running[turn], None)
        yield said


def _one_of(rng: Random, doctors: list[str]) -> str:
    return "nobody" if rng.random() < 0.02 else rng.choice(doctors)


def _maybe_text(rng: Random) -> str | None:
    return rng.choice(TEXTS) if rng.random() < 0.5 else None


def _request(desk: Desk, slot: str, doctors: list[str]) -> Said:
    rng = desk.rng
    patient_id = '"病人"\\\u00e9\n\u0001\U0001f600' if rng.random() < 0.01 else f"p{rng.randint(1, 25)}"
    sources = (Source.EMERGENCY, Source.PAID, Source.FOLLOW_UP, Source.ONLINE, Source.WALK_IN)
    source = rng.choices(sources, weights=(22, 15, 15, 25, 23))[0]
    pin = _one_of(rng, doctors) if rng.random() < 0.3 else None
    return desk.request(desk.date(), "00:00-00:01" if rng.random() < 0.01 else slot, patient_id, source, pin)


def _register(desk: Desk, doctor: str, slots: list[str]) -> Said:
    rng = desk.rng
    schedule: list[dict[str, Any]] = []
    for slot in rng.sample(slots, rng.choices(range(len(slots) + 1), weights=range(1, len(slots) + 2))[0]):
        if rng.random() < 0.25:
            days = rng.sample(list(Weekday), rng.randint(2, 7))
            schedule.append({"slot": slot, "capacity": rng.randint(0, 4), "weekdays": days[1:]})
            schedule.insert(0, {"slot": slot, "capacity": rng.randint(0, 4), "weekdays": days[:1]})
        else:
            schedule.append({"slot": slot, "capacity": rng.randint(0, 4)})
    return desk.say("RegisterDoctor", doctor_id=doctor, name=rng.choice(TEXTS), schedule=schedule)


def _set_capacity(desk: Desk, doctor: str, slot: str) -> Said:
    capacity = desk.rng.choice([0, 1, 1, 2, 3, 4])
    return desk.say("SetSlotCapacity", doctor_id=doctor, date=desk.date(), slot=slot, capacity=capacity)


def _set_availability(desk: Desk, doctor: str, slot: str | None) -> Said:
    return desk.say(
        "SetDoctorAvailability",
        doctor_id=doctor,
        date=desk.date(),
        slot=slot,
        available=desk.rng.random() < 0.6,
        reason=_maybe_text(desk.rng),
    )


def _again(desk: Desk) -> Said:
    """Send a command again, or another one under its id."""
    rng = desk.rng
    former = rng.choice(desk.said) if desk.said else desk.make("CheckIn", "first", token_id=desk.some_token_id())
    if rng.random() < 0.6:
        return desk.send(former)
    used = former.id
    if rng.random() < 0.3:
        return desk.send(desk.make("CallNext", used, doctor_id="a", date=desk.date(), slot=SLOTS[0]))
    return desk.send(desk.make("CheckIn", used, token_id=desk.some_token_id()))
