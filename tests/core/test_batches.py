"""Writes wait for the batch's end; the twins agree whatever is touched again before that, and on the state too."""

from collections.abc import Iterator
from itertools import count, product
from random import Random

import pytest
from redis import Redis

from allocation_core.calendar import DAY_MS, date_of_day, day_of_timestamp, token_id
from allocation_core.model import Model
from schemas.commands import Command
from schemas.words import Source
from tests.core.commands import make_command
from tests.core.engines import StoreEngine
from tests.core.test_state import read_all, states_of

MONDAY_MS = 1_795_392_000_000  # 2026-11-23T00:00:00Z
TODAY = day_of_timestamp(MONDAY_MS)
SLOTS = ["09:00-10:00", "10:00-11:00"]
WORDS = ["HMGET", "HGET", "HSET", "HDEL", "ZADD", "ZREM"]


def crowd_of_six(rng: Random, count: int) -> Iterator[tuple[Command, int]]:
    """Six patients and three seats: every token is preempted, promoted, called and ended within a few commands."""
    issued = 0

    def say(command_type: str, **data: object) -> tuple[Command, int]:
        named = {"facility_id": "h", "department_id": "d", **data}
        return make_command(command_type, f"c{number}", named), MONDAY_MS

    def register(doctor: str) -> tuple[Command, int]:
        schedule = [{"slot": slot, "capacity": rng.randint(0, 2)} for slot in rng.sample(SLOTS, rng.randint(1, 2))]
        return say("RegisterDoctor", doctor_id=doctor, name=doctor, schedule=schedule)

    for number in range(count):
        place = {"date": date_of_day(TODAY), "slot": SLOTS[0]}
        doctor = rng.choice("ab")
        step = rng.randrange(20)
        if number < 2:
            yield register("ab"[number])
        elif step < 8:
            pin = rng.choice([None, None, "a", "b"])
            patient, source = f"p{rng.randrange(6)}", rng.choice(list(Source))
            yield say("RequestToken", **place, patient_id=patient, source=source, doctor_id=pin)
            issued += 1
        elif step < 14:
            named = token_id("h", "d", place["date"], rng.randint(max(1, issued - 8), issued + 1))
            yield say(rng.choice(["CancelToken", "CheckIn", "MarkNoShow", "CompleteConsultation"]), token_id=named)
        elif step == 14:
            yield say("CallNext", doctor_id=doctor, **place)
        elif step == 15:
            yield say("SetSlotCapacity", doctor_id=doctor, **place, capacity=rng.randint(0, 3))
        elif step < 19:
            yield say("SetDoctorAvailability", doctor_id=doctor, date=place["date"], available=rng.random() < 0.6)
        else:
            yield register(doctor)


@pytest.mark.parametrize("size", [1, 7, 400])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_touched_again_and_again_in_a_batch_ends_as_one_by_one(seed: int, size: int, every_redis: str) -> None:
    commands = list(crowd_of_six(Random(seed), 400))
    model = Model()
    with StoreEngine(every_redis) as store:
        for at in range(0, len(commands), size):
            batch = commands[at : at + size]
            assert store.decide_batch(batch) == [model.decide(command, stamp) for command, stamp in batch]
    assert read_all(every_redis) == states_of(model)


def test_a_new_schedule_is_reviewed_over_all_dates_in_one_batch_with_their_requests(every_redis: str) -> None:
    def say(number: int, command_type: str, **data: object) -> tuple[Command, int]:
        named = {"facility_id": "h", "department_id": "d", **data}
        return make_command(command_type, f"c{number}", named), MONDAY_MS

    dates = [date_of_day(TODAY + ahead) for ahead in range(-1, 180)]
    commands = [
        say(0, "RegisterDoctor", doctor_id="a", name="a", schedule=[{"slot": SLOTS[0], "capacity": 2}]),
        *(
            say(number, "RequestToken", date=date, slot=SLOTS[0], patient_id=f"p{number}", source="ONLINE")
            for number, date in enumerate(dates * 3, start=1)
        ),
        say(1001, "RegisterDoctor", doctor_id="a", name="a", schedule=[{"slot": SLOTS[0], "capacity": 3}]),
        say(1002, "RegisterDoctor", doctor_id="a", name="a", schedule=[]),
    ]
    model = Model()
    with StoreEngine(every_redis) as store:
        assert store.decide_batch(commands) == [model.decide(command, stamp) for command, stamp in commands]
    assert read_all(every_redis) == states_of(model)


def test_ids_of_days_that_went_by_within_a_batch_leave_nothing_behind(every_redis: str) -> None:
    """The day goes on in the middle: what was to be written for the days before is forgotten with them."""

    def check_in(number: int, day: int) -> tuple[Command, int]:
        named = {"facility_id": "h", "department_id": "d", "token_id": "h.d.20261123.1"}
        return make_command("CheckIn", f"c{number}", named), MONDAY_MS + day * DAY_MS

    doctor = {"facility_id": "h", "department_id": "d", "doctor_id": "a", "name": "a", "schedule": []}
    first = (make_command("RegisterDoctor", "first", doctor), MONDAY_MS)
    batch = [check_in(number, number // 5) for number in range(100)]
    model = Model()
    with StoreEngine(every_redis) as store:
        for some in ([first], batch, [check_in(100, 40)]):
            assert store.decide_batch(some) == [model.decide(command, stamp) for command, stamp in some]
    assert read_all(every_redis) == states_of(model)


def test_nobody_is_promoted_into_a_slot_that_was_closed_in_the_same_batch(every_redis: str) -> None:
    named = {"facility_id": "h", "department_id": "d"}
    pool = {**named, "date": date_of_day(TODAY), "slot": SLOTS[0]}
    schedule = [{"slot": SLOTS[0], "capacity": 1}]
    said = [
        make_command("RegisterDoctor", "c0", {**named, "doctor_id": "a", "name": "a", "schedule": schedule}),
        make_command("RequestToken", "c1", {**pool, "patient_id": "p1", "source": "ONLINE"}),
        make_command("RequestToken", "c2", {**pool, "patient_id": "p2", "source": "ONLINE"}),
        make_command("CloseSlot", "c3", pool),
        make_command("CancelToken", "c4", {**named, "token_id": token_id("h", "d", date_of_day(TODAY), 1)}),
    ]
    model = Model()
    with StoreEngine(every_redis) as store:
        decided = store.decide_batch([(command, MONDAY_MS) for command in said])
    assert decided == [model.decide(command, MONDAY_MS) for command in said]
    assert [event.type for event in decided[-1]] == ["TokenCancelled"]


@pytest.mark.parametrize("of_a_pool", [1, 4])
def test_what_a_batch_names_is_read_and_written_at_once(of_a_pool: int, redis_url: str) -> None:
    """However many tokens, patients and ids that is: the calls are those that the dates and pools need."""
    dates = [date_of_day(TODAY + ahead) for ahead in (0, 7, 14)]  # one weekday: a slot's schedule is read once
    seats, waiting = SLOTS
    nos = range(1, of_a_pool + 1)
    number = count()

    def say(command_type: str, **data: object) -> tuple[Command, int]:
        named = {"facility_id": "h", "department_id": "d", **data}
        return make_command(command_type, f"c{next(number)}", named), MONDAY_MS

    schedule = [{"slot": seats, "capacity": 9}, {"slot": waiting, "capacity": 0}]
    doctor = say("RegisterDoctor", doctor_id="a", name="a", schedule=schedule)
    asked = [
        say("RequestToken", date=date, slot=slot, patient_id=f"p{no}", source="ONLINE")
        for date, slot, no in product(dates, SLOTS, nos)
    ]
    came = [say("CheckIn", token_id=token_id("h", "d", date, no)) for date, no in product(dates, nos)]
    set_to = [
        say("SetSlotCapacity", date=date, slot=seats, doctor_id="a", capacity=no) for date, no in product(dates, nos)
    ]
    closed = [say("CloseSlot", date=date, slot=waiting) for date in dates]
    with StoreEngine(redis_url) as store, Redis.from_url(redis_url) as redis:
        store.decide(*doctor)
        calls = [calls_of(batch, store, redis) for batch in (asked, came, set_to, closed)]
    assert calls == [
        {"HMGET": 5, "HGET": 1, "HSET": 16, "HDEL": 1, "ZADD": 6},
        {"HMGET": 6, "HGET": 5, "HSET": 9, "HDEL": 1, "ZADD": 3, "ZREM": 3},
        {"HMGET": 5, "HGET": 2, "HSET": 7, "HDEL": 1},
        {"HMGET": 8, "HGET": 1, "HSET": 10, "HDEL": 4},
    ]


def calls_of(batch: list[tuple[Command, int]], store: StoreEngine, redis: Redis) -> dict[str, int]:
    """Decide a batch of commands that are granted; give how often the script read and wrote hashes and lines."""
    redis.config_resetstat()
    said = store.decide_batch(batch)
    assert all(events[0].type != "CommandRejected" for events in said)
    stats = redis.info("commandstats")
    return {word: stats[name]["calls"] for word in WORDS if (name := f"cmdstat_{word.lower()}") in stats}
