"""What R3 forgot leaves Redis too: a little a batch, by the commands' own days, and nobody can tell when."""

from collections.abc import Iterable, Iterator
from random import Random

from redis import Redis

from allocation_core.calendar import DAY_MS, date_of_day, day_of_timestamp, token_id
from allocation_core.layout import DAYS_A_BUCKET, Header
from allocation_core.model import MEMORY_DAYS, Model
from schemas.commands import Command
from tests.core.commands import make_command
from tests.core.engines import StoreEngine

MONDAY_MS = 1_795_392_000_000  # 2026-11-23T00:00:00Z
DEPARTMENTS = ["cardiology", "ent", "skin"]
DAYS = 40
REQUESTS_A_DAY = 60
STEPS_A_BATCH = 50


def a_month(rng: Random) -> Iterator[tuple[Command, int]]:
    number = 0

    def say(day: int, department: str, command_type: str, **data: object) -> tuple[Command, int]:
        nonlocal number
        number += 1
        command = make_command(command_type, f"c{number}", {"facility_id": "h", "department_id": department, **data})
        return command, MONDAY_MS + day * DAY_MS + number

    first = day_of_timestamp(MONDAY_MS)
    for department in DEPARTMENTS:
        for doctor in ("a", "b"):
            schedule = [{"slot": "09:00-10:00", "capacity": 4}, {"slot": "10:00-11:00", "capacity": 4}]
            yield say(0, department, "RegisterDoctor", doctor_id=doctor, name=doctor, schedule=schedule)
    issued: dict[tuple[str, str], int] = {}
    for day in range(DAYS):
        for _ in range(REQUESTS_A_DAY):
            department = rng.choice(DEPARTMENTS)
            date = date_of_day(first + day + rng.choice([0, 0, 1, 3]))
            slot = rng.choice(["09:00-10:00", "10:00-11:00"])
            pin = rng.choice([None, None, "a"])
            patient = f"p{number}"
            place = {"date": date, "slot": slot}
            yield say(day, department, "RequestToken", **place, patient_id=patient, source="ONLINE", doctor_id=pin)
            issued[department, date] = issued.get((department, date), 0) + 1
            if rng.random() < 0.4:
                named = token_id("h", department, date, rng.randint(1, issued[department, date]))
                yield say(day, department, rng.choice(["CancelToken", "CheckIn"]), token_id=named)
            if rng.random() < 0.05:
                yield say(day, department, "SetSlotCapacity", doctor_id="b", **place, capacity=rng.randint(0, 6))


def test_a_month_s_state_stops_growing_and_the_twins_agree_on_it(every_redis: str) -> None:
    model = Model()
    keys: dict[int, int] = {}
    with StoreEngine(every_redis) as store, Redis.from_url(every_redis) as redis:
        month = list(a_month(Random(1)))
        for at in range(0, len(month), 25):
            batch = month[at : at + 25]
            for (command, timestamp_ms), stored in zip(batch, store.decide_batch(batch), strict=True):
                assert stored == model.decide(command, timestamp_ms)
            keys[day_of_timestamp(batch[-1][1])] = redis.dbsize()
        last = max(keys)
        names = [key.decode() for key in redis.scan_iter()]
        headers = [Header.unpack(packed) for packed in redis.hvals("opd{0}:d")]

    later = [count for day, count in keys.items() if day > last - 25]
    assert max(later) < 1.3 * min(later), keys
    assert max(later) < 2 * keys[min(keys) + 9], "no more than the days that are kept need"
    dates = [int(name.rpartition(":t")[2]) for name in names if ":t" in name]
    assert min(dates) >= last - 8, "dates of more than a week ago are gone, the last day's perhaps not yet all"
    kept = range((last - MEMORY_DAYS) // DAYS_A_BUCKET, last // DAYS_A_BUCKET + 1)
    assert buckets_of_ids(names) == {*kept}
    assert {header.first_bucket for header in headers} == {kept[0]}


def test_a_long_silence_is_forgotten_step_by_step(redis_url: str) -> None:
    """However much there is to forget at once, a batch does a bounded part of it."""
    later_ms = MONDAY_MS + 100 * DAY_MS
    with StoreEngine(redis_url) as store, Redis.from_url(redis_url) as redis:
        store.decide_batch([said for said in a_month(Random(3)) if said[1] < MONDAY_MS + 9 * DAY_MS])
        freed, looked_at = [], []
        for number in range(20):
            named = {"facility_id": "h", "token_id": "h.ent.20200101.1"}
            everywhere = [{**named, "department_id": department} for department in DEPARTMENTS]
            before = pools_and_dates(redis)
            store.decide_batch([(make_command("CheckIn", f"later{number}", data), later_ms) for data in everywhere])
            freed.append(before - pools_and_dates(redis))
            looked_at.append(len(DEPARTMENTS) - redis.zcard("opd{0}:f") + 1)
        left = [key.decode() for key in redis.scan_iter()]

    assert freed[0] + looked_at[0] == STEPS_A_BATCH
    assert sum(some > 0 for some in freed) > 2, "not all at once"
    assert not [name for name in left if ":t" in name or "-" in name], "no date and no slot is left"
    assert buckets_of_ids(left) == {day_of_timestamp(later_ms) // DAYS_A_BUCKET}


def test_a_department_that_is_new_forgets_too_what_a_batch_leaves_behind(redis_url: str) -> None:
    """Its day goes on in the batch in which it gets keys of its own: the ids of before are forgotten with the next."""
    named = {"facility_id": "h", "department_id": "d"}
    doctor = make_command("RegisterDoctor", "c0", {**named, "doctor_id": "a", "name": "a", "schedule": []})
    day_40, day_80 = (
        (make_command("CheckIn", f"c{day}", {**named, "token_id": "h.d.20261123.1"}), MONDAY_MS + day * DAY_MS)
        for day in (40, 80)
    )
    with StoreEngine(redis_url) as store, Redis.from_url(redis_url) as redis:
        store.decide_batch([(doctor, MONDAY_MS), day_40])
        store.decide(*day_80)
        names = [key.decode() for key in redis.scan_iter()]
    assert buckets_of_ids(names) == {day_of_timestamp(day_80[1]) // DAYS_A_BUCKET}


def pools_and_dates(redis: Redis) -> int:
    return sum(redis.hlen(key) for key in redis.scan_iter("opd{0}:*:p"))


def buckets_of_ids(names: Iterable[str]) -> set[int]:
    return {int(name.rpartition(":i")[2]) for name in names if ":i" in name and "-" not in name}
