"""The slot store decides as the model does, event for event, whatever the day and however it is cut into batches."""

from random import Random

import pytest

from allocation_core.model import Model
from tests.core.days import random_commands
from tests.core.engines import StoreEngine, in_batches

# 120,000 commands in all; it takes about 12,000 in a row until a waitlist is full (R7).
DAYS = [*((seed, 5_000) for seed in range(16)), (16, 20_000), (17, 20_000)]


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
