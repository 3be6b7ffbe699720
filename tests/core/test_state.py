"""I9: what Redis keeps is what the model is in, department for department, whatever the day."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import ormsgpack
import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from allocation_core.calendar import date_of_day
from allocation_core.digests import department_digest
from allocation_core.layout import PoolHeader, SessionHeader
from allocation_core.loading import Loading
from allocation_core.model import Model
from allocation_core.state import (
    MOST_PREEMPTED,
    DepartmentState,
    department_of,
    differences,
    read_state,
    state_of,
    write_state,
)
from allocation_core.store import NOTHING_APPLIED, Rewind, SlotStore, Unfenced
from allocation_core.stored_state import StoredPartition
from tests.core.days import random_commands
from tests.core.engines import GENERATION, StoreEngine, in_batches
from tests.core.test_corners import NINE, TODAY, Clinic


def read_all(url: str) -> dict[bytes, DepartmentState]:
    """Every department of partition 0, which must not contradict itself, by the digest of its name."""

    async def read() -> dict[bytes, DepartmentState]:
        states = {}
        async with Redis.from_url(url) as redis:
            partition = StoredPartition(redis, 0)
            async for name in partition.departments():
                stored = await partition.read(name, indexes=True)
                assert stored.faults == []
                assert stored.state is not None
                assert stored.state.name == name
                states[department_digest(name)] = replace(stored.state, name="")
        return states

    return asyncio.run(read())


def load(url: str, states: Iterable[DepartmentState], *, offset: int, generation: int | None = None) -> None:
    async def put() -> None:
        async with Redis.from_url(url) as redis:
            await Loading(redis, 0, offset=offset, generation=generation).load(states, b"digest")

    asyncio.run(put())


def keys_of(url: str) -> list[bytes]:
    with SyncRedis.from_url(url) as redis:
        return list(redis.scan_iter())


def states_of(model: Model) -> dict[bytes, DepartmentState]:
    """What `read_all` must give."""
    return {department_digest(state.name): replace(state, name="") for state in saved_states(model)}


def saved_states(model: Model) -> list[DepartmentState]:
    return [state_of(department) for department in model.departments.values()]


@pytest.mark.parametrize("seed", range(8))
def test_redis_equals_the_model_along_a_random_day(seed: int, every_redis: str) -> None:
    commands = list(random_commands(seed, 4_000))
    rng = Random(seed)
    model = Model()
    with StoreEngine(every_redis) as store:
        for batch in in_batches(commands, rng):
            store.decide_batch(batch)
            for command, timestamp_ms in batch:
                model.decide(command, timestamp_ms)
            if rng.random() < 0.1:
                assert read_all(every_redis) == states_of(model)
        stored, expected = read_all(every_redis), states_of(model)
    for name, state in expected.items():
        assert list(differences(state, stored[name])) == []
    assert stored == expected


def test_who_waited_in_a_pool_that_is_closed_stands_in_no_line_any_more(every_redis: str) -> None:
    model = Model()
    with StoreEngine(every_redis) as store:
        for engine in (model, store):
            clinic = Clinic(engine)
            clinic.register("a", 0, NINE)
            clinic.request("p1")
            clinic.request("p2", pin="a")
            closed = clinic.say("CloseSlot", date=date_of_day(TODAY), slot=NINE)
            assert closed == ["SlotClosed", "TokenExpired 1", "TokenExpired 2"]
        assert read_all(every_redis) == states_of(model)


@pytest.mark.parametrize("seed", range(4))
def test_a_model_made_from_its_state_decides_on_as_the_model_does(seed: int) -> None:
    model = Model()
    for number, (command, timestamp_ms) in enumerate(random_commands(seed, 4_000)):
        if number % 250 == 0:
            states = [read_state(write_state(state)) for state in saved_states(model)]
            assert states == saved_states(model)
            again = Model()
            again.departments = {tuple(state.name.split("/")): department_of(state) for state in states}  # type: ignore[misc] # two parts
        assert again.decide(command, timestamp_ms) == model.decide(command, timestamp_ms)
    assert states_of(again) == states_of(model)


def test_a_pool_is_written_as_the_scripts_know_it() -> None:
    header = PoolHeader(waiting=[0, 2, 0, 0, 5], sessions={1: SessionHeader(taken=1, called=12)})
    assert ormsgpack.unpackb(header.pack()) == [0, 0, 0, 2, 0, 0, 5, 1, 1, 0, -1, 0, 12]
    assert PoolHeader.unpack(header.pack()) == header


@pytest.mark.parametrize("seed", range(10))
def test_what_is_loaded_is_what_was_read_and_is_led_on_the_same(seed: int, every_redis: str) -> None:
    commands = list(random_commands(seed, 3_000))
    half = Random(seed).randrange(400, len(commands))
    model = Model()
    with StoreEngine(every_redis) as store:
        store.decide_batch(commands[:400])
        for command, timestamp_ms in commands[:half]:
            model.decide(command, timestamp_ms)
        saved = [read_state(write_state(state)) for state in saved_states(model)]
        load(every_redis, saved, offset=half - 1)
        assert read_all(every_redis) == states_of(model)
        store.went_on(half - 1)
        for batch in in_batches(commands[half:], Random(seed)):
            said = store.decide_batch(batch)
            assert said == [model.decide(command, timestamp_ms) for command, timestamp_ms in batch]
        assert read_all(every_redis) == states_of(model)
        load(every_redis, saved_states(model), offset=len(commands))
        numbers = {key.partition(b":")[2].partition(b":")[0] for key in keys_of(every_redis)}
        assert len([number for number in numbers if number.isdigit()]) <= len(model.departments)


def test_who_loses_a_seat_more_often_than_is_counted_is_spared_as_the_model_spares_them(every_redis: str) -> None:
    model = Model()
    clinic = Clinic(model)
    clinic.register("a", 2, NINE)
    clinic.request("p1", "WALK_IN")
    clinic.request("p2", "WALK_IN")
    [state] = saved_states(model)
    often = zip(state.tokens.items(), (MOST_PREEMPTED - 1, MOST_PREEMPTED), strict=True)
    state.tokens = {place: token._replace(times_preempted=times) for (place, token), times in often}
    model.departments = {("h", "d"): department_of(state)}
    with StoreEngine(every_redis) as store:
        load(every_redis, [state], offset=2)
        store.went_on(2)
        said = []
        for engine in (model, store):
            later = Clinic(engine)
            later.number = clinic.number
            said += [
                later.request("p3", "EMERGENCY"),
                later.say("SetSlotCapacity", date=date_of_day(TODAY), slot=NINE, doctor_id="a", capacity=3),
                later.request("p4", "EMERGENCY"),
                later.say("SetSlotCapacity", date=date_of_day(TODAY), slot=NINE, doctor_id="a", capacity=4),
            ]
        assert read_all(every_redis) == states_of(model)
    assert said[0][0] == "TokenPreempted 1 EMERGENCY at 1"
    assert said[2][0] == "TokenPreempted 2 EMERGENCY at 1"
    assert said[:4] == said[4:]


def test_an_older_state_is_not_loaded_nor_one_of_another_owner(redis_url: str) -> None:
    with StoreEngine(redis_url) as store:
        store.decide_batch(list(random_commands(3, 200)))
        before = read_all(redis_url)
        with pytest.raises(Rewind, match="found 199"):
            load(redis_url, [], offset=199)
        with pytest.raises(Unfenced):
            load(redis_url, [], offset=300, generation=GENERATION + 1)
        assert read_all(redis_url) == before


@pytest.mark.parametrize("meanwhile", ["clear", "an unfinished clear", "flush", "another loading"])
def test_a_loading_that_lost_its_place_leaves_nothing_to_be_seen(meanwhile: str, redis_url: str) -> None:
    def departments() -> Iterator[DepartmentState]:
        yield DepartmentState("h/d", day=1)
        with ThreadPoolExecutor() as thread:
            thread.submit(asyncio.run, disturb(redis_url, meanwhile)).result()
        yield DepartmentState("h/e", day=1)

    with StoreEngine(redis_url) as store:
        store.decide_batch(list(random_commands(3, 200)))
        with pytest.raises(Rewind):
            load(redis_url, departments(), offset=300)
    assert not {department_digest(name) for name in ("h/d", "h/e")} & set(read_all(redis_url))


@pytest.mark.parametrize("overlooked", [False, True])
def test_what_was_cleared_is_never_seen_again_even_where_keys_were_overlooked(
    overlooked: bool, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_keys(*_: object, **__: object) -> AsyncIterator[bytes]:
        """Give none, as when their slot moves to a node that was gone through already."""
        for key in list[bytes]():
            yield key

    async def clear() -> None:
        async with Redis.from_url(redis_url) as redis:
            await SlotStore(redis, 0).clear(GENERATION)

    commands = list(random_commands(5, 1_000))
    model = Model()
    with StoreEngine(redis_url) as store:
        store.decide_batch(commands)
        if overlooked:
            monkeypatch.setattr(Redis, "scan_iter", no_keys)
        asyncio.run(clear())
        assert (len(keys_of(redis_url)) > 1) == overlooked
        store.went_on(NOTHING_APPLIED)
        assert store.decide_batch(commands) == [model.decide(*said) for said in commands]
    assert read_all(redis_url) == states_of(model)


async def disturb(url: str, how: str) -> None:
    async with Redis.from_url(url) as redis:
        if how == "clear":
            await SlotStore(redis, 0).clear(GENERATION)
        elif how == "an unfinished clear":
            await redis.hset("opd{0}", mapping={"half": "1", "clearing": "name"})
        elif how == "flush":
            await redis.flushall()
        else:
            await Loading(redis, 0, offset=400).load([DepartmentState("h/other", day=1)], b"")
