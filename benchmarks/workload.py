"""The commands that everything here decides: requests and cancellations, 4 to 1."""

from collections.abc import Iterator, Mapping
from random import Random
from typing import NamedTuple

from pydantic_core import to_json

from allocation_core.calendar import DAY_MS, date_of_day, day_of_date, token_id
from schemas.words import Source

DEPARTMENTS = 40
SLOTS = [f"{hour:02d}:00-{hour + 1:02d}:00" for hour in range(9, 14)]
DOCTORS = [f"dr-{number}" for number in range(4)]
SEATS = 20
FIRST_DATE = "2026-11-23"
TIMESTAMP_MS = 1_795_392_000_000
# Half as many again as there are seats: some wait, cancellations promote them, emergencies take seats.
REQUESTS_A_DEPARTMENT_AND_DATE = len(SLOTS) * len(DOCTORS) * SEATS * 3 // 2
SHARES = {Source.EMERGENCY: 3, Source.PAID: 12, Source.FOLLOW_UP: 20, Source.ONLINE: 40, Source.WALK_IN: 25}


class Sent(NamedTuple):
    """A record of the commands topic."""

    key: bytes
    value: bytes
    timestamp_ms: int


def workload(
    count: int,
    *,
    seed: int = 1,
    departments: int = DEPARTMENTS,
    commands_a_day: int | None = None,
    first_date: str = FIRST_DATE,
) -> Iterator[Sent]:
    """Give so many commands in log order, the doctors' registrations first.

    Args:
        count: how many.
        seed: of all chances.
        departments: how many share them.
        commands_a_day: after so many the timestamps go on to the next day, and what is over is forgotten (R3); if left
            out, all come on one day.
        first_date: of the seats that are asked for; the next one when it is full.
    """
    rng = Random(seed)
    names = [f"dep-{number}" for number in range(departments)]
    schedule = [{"slot": slot, "capacity": SEATS} for slot in SLOTS]
    sent = 0
    for department in names:
        for doctor in DOCTORS:
            data = {"doctor_id": doctor, "name": "Dr Rao", "schedule": schedule}
            yield make_command(sent, "RegisterDoctor", department, TIMESTAMP_MS, data)
            sent += 1
    issued = dict.fromkeys(names, 0)
    while sent < count:
        timestamp_ms = TIMESTAMP_MS + (sent // commands_a_day * DAY_MS if commands_a_day else 0)
        department = rng.choice(names)
        days, token_no = divmod(issued[department], REQUESTS_A_DEPARTMENT_AND_DATE)
        date = date_of_day(day_of_date(first_date) + days)
        if token_no == 0 or rng.random() < 0.8:
            issued[department] += 1
            source = rng.choices(list(SHARES), list(SHARES.values()))[0]
            slot = rng.choice(SLOTS)
            data = {"date": date, "slot": slot, "patient_id": f"p-{sent:014d}", "source": source}
            yield make_command(sent, "RequestToken", department, timestamp_ms, data)
        else:
            given_back = token_id("blr1", department, date, rng.randint(1, token_no))
            yield make_command(sent, "CancelToken", department, timestamp_ms, {"token_id": given_back})
        sent += 1


def make_command(
    number: int, command_type: str, department: str, timestamp_ms: int, data: Mapping[str, object]
) -> Sent:
    """Give a command; its number makes its id."""
    value = to_json(
        {
            "specversion": "1.0",
            "id": f"web-{number:010d}",
            "source": "portal/web",
            "type": f"opd.{command_type}.v1",
            "data": {"facility_id": "blr1", "department_id": department, **data},
        }
    )
    return Sent(f"blr1/{department}".encode(), value, timestamp_ms)
