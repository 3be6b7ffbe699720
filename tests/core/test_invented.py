"""A department that a sender merely invents costs little, and what R2, R3 and R21 say holds for it as for any other."""

from dataclasses import replace

from redis import Redis

from allocation_core.calendar import DAY_MS
from allocation_core.digests import department_digest
from allocation_core.model import Model
from schemas.commands import Command
from tests.core.commands import make_command
from tests.core.engines import StoreEngine
from tests.core.test_state import load, read_all, saved_states, states_of

MONDAY_MS = 1_795_392_000_000  # 2026-11-23T00:00:00Z
LONGEST = 32  # characters of a facility's or a department's id
# Of Valkey. An id is 16 bytes and 19 of what it was; what is around it all depends on how far a hash table is filled,
# and jemalloc gives memory in steps: the second id takes 48 bytes, some later ones 32.
MOST_BYTES, MOST_BYTES_AN_ID = 64, 48


def check_in(department: str, command_id: str, day: int = 0, facility: str = "blr1") -> tuple[Command, int]:
    data = {"facility_id": facility, "department_id": department, "token_id": "blr1.x.20261123.1"}
    return make_command("CheckIn", command_id, data), MONDAY_MS + day * DAY_MS


def register(department: str, command_id: str, day: int = 0) -> tuple[Command, int]:
    schedule = [{"slot": "09:00-10:00", "capacity": 1}]
    data = {"facility_id": "blr1", "department_id": department, "doctor_id": "a", "name": "a", "schedule": schedule}
    return make_command("RegisterDoctor", command_id, data), MONDAY_MS + day * DAY_MS


def close_slot(department: str, command_id: str) -> tuple[Command, int]:
    data = {"facility_id": "blr1", "department_id": department, "date": "2026-11-23", "slot": "09:00-10:00"}
    return make_command("CloseSlot", command_id, data), MONDAY_MS


def test_twins_agree_on_invented_departments_and_on_those_that_become_real(every_redis: str) -> None:
    said = [
        *(check_in("few", f"c{number}") for number in range(3)),
        check_in("few", "c1"),  # a repeat
        close_slot("few", "c2"),  # an id used again
        close_slot("few", "c3"),
        *(check_in("many", f"c{number}") for number in range(12)),
        check_in("many", "c0"),
        register("few", "r"),
        check_in("few", "c0"),
        register("many", "r"),
        check_in("many", "c11"),
        *(check_in("silent", f"c{number}", day=number) for number in range(12)),  # R3 forgets the first ones
        *(check_in("silent", f"c{number}", day=11) for number in (0, 3, 4)),
        check_in("silent", "old", day=2),
        check_in("few", "c0", day=8),
        check_in("few", "r", day=7),
    ]
    for size in (1, 4, len(said)):
        model = Model()
        with StoreEngine(every_redis) as store:
            for at in range(0, len(said), size):
                batch = said[at : at + size]
                assert store.decide_batch(batch) == [model.decide(command, stamp) for command, stamp in batch]
                assert read_all(every_redis) == states_of(model)


def test_an_invented_department_is_loaded_as_it_was(every_redis: str) -> None:
    model = Model()
    few, many = [[check_in(name, f"c{number}") for number in range(ids)] for name, ids in (("few", 8), ("many", 9))]
    said = [*few, *many, register("real", "r")]
    later = [check_in("few", "c0"), check_in("many", "c1"), register("few", "r"), check_in("real", "r")]
    for command, stamp in said:
        model.decide(command, stamp)
    with StoreEngine(every_redis) as store, Redis.from_url(every_redis) as redis:
        store.decide_batch([check_in("gone", "c0")])
        load(every_redis, saved_states(model), offset=len(said))
        assert read_all(every_redis) == states_of(model)
        assert redis.hkeys("opd{0}:v") == [department_digest("blr1/few")]
        store.went_on(len(said))
        assert store.decide_batch(later) == [model.decide(command, stamp) for command, stamp in later]
    assert read_all(every_redis) == states_of(model)


def test_a_state_that_knows_no_name_is_led_on_by_who_comes_with_it(redis_url: str) -> None:
    """As from a snapshot: what Redis keeps of a department without a doctor is loaded as it was read."""
    model = Model()
    said = [check_in("few", "c0"), check_in("few", "c1")]
    later = [check_in("few", "c0"), register("few", "r"), close_slot("few", "c1")]
    expected = [model.decide(command, stamp) for command, stamp in [*said, *later]]
    with StoreEngine(redis_url) as store:
        store.decide_batch(said)
        [(digest, read)] = read_all(redis_url).items()
        load(redis_url, [replace(read, name=digest.hex())], offset=len(said))
        store.went_on(len(said))
        assert store.decide_batch(later) == expected[len(said) :]
    assert read_all(redis_url) == states_of(model)


def test_an_invented_department_costs_some_bytes_and_no_key(redis_url: str) -> None:
    count = 10_000
    names = [(f"{number:0{LONGEST}d}", "d" * LONGEST) for number in range(count)]
    with StoreEngine(redis_url) as store, Redis.from_url(redis_url) as redis:
        keys, bytes_with = set(), []
        for command_id in ("c1", "c2"):
            for first in range(0, count, 500):
                batch = [check_in(name, command_id, facility=facility) for facility, name in names[first : first + 500]]
                store.decide_batch(batch)
            keys.add(redis.dbsize())
            bytes_with.append(redis.memory_usage("opd{0}:v", samples=0) / count)
    of_an_id = bytes_with[1] - bytes_with[0]
    assert keys == {3}  # the partition, its last outcomes, and all that was invented
    assert of_an_id <= MOST_BYTES_AN_ID
    assert bytes_with[0] - of_an_id < MOST_BYTES


def test_a_department_that_registers_a_doctor_is_a_short_record_no_more(redis_url: str) -> None:
    named = {"facility_id": "h", "department_id": "d"}
    with StoreEngine(redis_url) as store, Redis.from_url(redis_url) as redis:
        store.decide(make_command("CheckIn", "c1", {**named, "token_id": "h.d.20261123.1"}), 1_795_435_200_000)
        assert len(list(redis.scan_iter("*:v"))) == 1
        doctor = {**named, "doctor_id": "a", "name": "A", "schedule": []}
        store.decide(make_command("RegisterDoctor", "c2", doctor), 1_795_435_200_000)
        assert not list(redis.scan_iter("*:v"))


def test_a_department_with_more_than_eight_ids_to_remember_is_a_short_record_no_more(redis_url: str) -> None:
    with StoreEngine(redis_url) as store, Redis.from_url(redis_url) as redis:
        store.decide(*check_in("many", "forgotten"))
        store.decide_batch([check_in("many", f"c{number}", day=8) for number in range(8)])
        assert (redis.hlen("opd{0}:v"), redis.hlen("opd{0}:d")) == (1, 0)
        store.decide(*check_in("many", "c8", day=8))
        assert (redis.hlen("opd{0}:v"), redis.hlen("opd{0}:d")) == (0, 1)
