"""The commands that everything here decides: requests and cancellations, 4 to 1."""

from collections.abc import Iterator
from random import Random

from pydantic_core import to_json

from allocation_core.calendar import date_of_day, day_of_date, token_id
from schemas.words import Source

DEPARTMENTS = 40
SLOTS = [f"{hour:02d}:00-{hour + 1:02d}:00" for hour in range(9, 14)]
DOCTORS = [f"dr-{number}" for number in range(4)]
SEATS = 20
FIRST_DATE = "2026-11-23"
TIMESTAMP_MS = 1_795_392_000_000
# As many dates as it takes for a pool to be about as full as a busy one.
REQUESTS_A_DEPARTMENT_AND_DATE = len(SLOTS) * len(DOCTORS) * SEATS
SHARES = {Source.EMERGENCY: 3, Source.PAID: 12, Source.FOLLOW_UP: 20, Source.ONLINE: 40, Source.WALK_IN: 25}


def workload(count: int, seed: int = 1) -> Iterator[tuple[bytes, bytes]]:
    """Give keys and values of so many commands in log order, the doctors' registrations first."""
    rng = Random(seed)
    departments = [f"dep-{number}" for number in range(DEPARTMENTS)]
    schedule = [{"slot": slot, "capacity": SEATS} for slot in SLOTS]
    sent = 0
    for department in departments:
        for doctor in DOCTORS:
            yield _command(sent, "RegisterDoctor", department, doctor_id=doctor, name="Dr Rao", schedule=schedule)
            sent += 1
    issued = dict.fromkeys(departments, 0)
    while sent < count:
        department = rng.choice(departments)
        days, token_no = divmod(issued[department], REQUESTS_A_DEPARTMENT_AND_DATE)
        date = date_of_day(day_of_date(FIRST_DATE) + days)
        if token_no == 0 or rng.random() < 0.8:
            issued[department] += 1
            source = rng.choices(list(SHARES), list(SHARES.values()))[0]
            slot = rng.choice(SLOTS)
            patient_id = f"p-{sent:014d}"
            yield _command(sent, "RequestToken", department, date=date, slot=slot, patient_id=patient_id, source=source)
        else:
            given_back = token_id("blr1", department, date, rng.randint(1, token_no))
            yield _command(sent, "CancelToken", department, token_id=given_back)
        sent += 1


def _command(number: int, command_type: str, department: str, **data: object) -> tuple[bytes, bytes]:
    value = to_json(
        {
            "specversion": "1.0",
            "id": f"web-{number:010d}",
            "source": "portal/web",
            "type": f"opd.{command_type}.v1",
            "data": {"facility_id": "blr1", "department_id": department, **data},
        }
    )
    return f"blr1/{department}".encode(), value
