"""I9: what Redis keeps is what the model is in, department for department, whatever the day."""

import asyncio
from random import Random

import pytest
from redis.asyncio import Redis

from allocation_core.model import Model
from allocation_core.state import DepartmentState, department_of, differences, read_state, state_of, write_state
from allocation_core.stored_state import StoredPartition
from tests.core.days import random_commands
from tests.core.engines import StoreEngine, in_batches


def read_all(url: str) -> dict[str, DepartmentState]:
    """Every department of partition 0, which must not contradict itself."""

    async def read() -> dict[str, DepartmentState]:
        states = {}
        async with Redis.from_url(url) as redis:
            partition = StoredPartition(redis, 0)
            async for name in partition.departments():
                stored = await partition.read(name, indexes=True)
                assert stored.faults == []
                assert stored.state is not None
                states[name] = stored.state
        return states

    return asyncio.run(read())


def states_of(model: Model) -> dict[str, DepartmentState]:
    return {"/".join(key): state_of(department) for key, department in model.departments.items()}


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


@pytest.mark.parametrize("seed", range(4))
def test_a_model_made_from_its_state_decides_on_as_the_model_does(seed: int) -> None:
    model = Model()
    for number, (command, timestamp_ms) in enumerate(random_commands(seed, 4_000)):
        if number % 250 == 0:
            states = [read_state(write_state(state)) for state in states_of(model).values()]
            assert {state.name: state for state in states} == states_of(model)
            again = Model()
            again.departments = {tuple(state.name.split("/")): department_of(state) for state in states}  # type: ignore[misc] # two parts
        assert again.decide(command, timestamp_ms) == model.decide(command, timestamp_ms)
    assert states_of(again) == states_of(model)
