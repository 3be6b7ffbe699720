"""The slot store decides as the model does, event for event, whatever the day and however it is cut into batches."""

from random import Random
from typing import Any

import pytest

from allocation_core.calendar import date_of_day, day_of_timestamp
from allocation_core.model import Model
from tests.core import test_days
from tests.core.commands import make_command
from tests.core.days import random_commands
from tests.core.engines import StoreEngine, in_batches

MONDAY_MS = 1_795_392_000_000  # 2026-11-23T00:00:00Z
# 120,000 commands in all; it takes about 12,000 in a row until a waitlist is full (R7).
DAYS = [(test_days.SEED, test_days.COUNT), (16, 20_000), *((seed, 5_000) for seed in (0, *range(2, 16), 17))]


@pytest.mark.parametrize(("seed", "count"), DAYS)
def test_twins_agree_on_a_random_day(seed: int, count: int, every_redis: str) -> None:
    commands = list(random_commands(seed, count))
    model = Model()
    with StoreEngine(every_redis) as store:
        for batch in in_batches(commands, Random(seed)):
            for (command, timestamp_ms), stored in zip(batch, store.decide_batch(batch), strict=True):
                events = model.decide(command, timestamp_ms)
                assert stored == events, command
                # Equal dicts may differ in order, and the order is part of the contract.
                assert [list(event.data) for event in stored] == [list(event.data) for event in events]


def test_twins_agree_on_batches_larger_than_what_is_read_or_written_at_once(every_redis: str) -> None:
    """More tokens of a day than 1,000, more pools than 2,000: as a backlog may bring, or a slot that is closed."""
    slots = [f"{hour:02}:{half}0-{hour:02}:{half + 2}0" for hour in range(24) for half in (0, 3)]
    day = day_of_timestamp(MONDAY_MS)
    pools = [(date_of_day(day + ahead), slot) for ahead in range(50) for slot in slots]
    crowd = (pools[0],) * 1_100
    requests = [("RequestToken", {"date": date, "slot": slot}) for date, slot in (*pools, *crowd)]
    schedule = [{"slot": slot, "capacity": 1} for slot in slots]
    said: list[list[tuple[str, dict[str, Any]]]] = [
        [("RegisterDoctor", {"doctor_id": doctor, "name": doctor, "schedule": schedule}) for doctor in ("a", "b")],
        requests,
        [("CloseSlot", {"date": date, "slot": slot}) for date, slot in pools[:3]],
        [("SetDoctorAvailability", {"doctor_id": "a", "date": pools[0][0], "available": False})],
    ]
    model, number = Model(), 0
    with StoreEngine(every_redis) as store:
        for batch in said:
            commands = []
            for command_type, data in batch:
                number += 1
                own = {"patient_id": f"p{number}", "source": "EMERGENCY"} if command_type == "RequestToken" else {}
                place = {"facility_id": "h", "department_id": "d"}
                commands.append((make_command(command_type, f"c{number}", {**place, **data, **own}), MONDAY_MS))
            assert store.decide_batch(commands) == [model.decide(command, at_ms) for command, at_ms in commands]
