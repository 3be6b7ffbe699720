"""Slots of a Redis Cluster that move while commands are decided (ADR 8)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random

import pytest
from redis.exceptions import RedisError

from allocation_core.model import Model
from allocation_core.store import SlotMoving, SlotStore, partition_key
from allocation_core.stored_state import StoredPartition
from services.redis import connect_redis
from services.stack import ValkeyServer
from tests.core.days import random_commands
from tests.core.engines import GENERATION, StoreEngine
from tests.redis_cluster import master_of, redis_cluster, url_of
from tests.resharding import KeyByKey, another_master, move_at_once

KEY = partition_key(0)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ValkeyServer]]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), spare=True) as servers:
        yield servers


@pytest.mark.parametrize("went_first", ["no key", "the partition's own", "all others", "half of them"])
@pytest.mark.parametrize("taking", ["a master", "a new node"])
def test_nothing_is_decided_while_two_nodes_share_the_keys(
    cluster: list[ValkeyServer], went_first: str, taking: str
) -> None:
    commands = list(random_commands(11, 1_200))
    model = Model()
    home = master_of(cluster, KEY)
    away = another_master(cluster, home) if taking == "a master" else cluster[-1]
    # Clients are not told of a node without slots: sent to it, redis-py cannot find it.
    refusal = SlotMoving if taking == "a master" else RedisError
    with StoreEngine(url_of(cluster)) as store:
        assert store.decide_batch(commands[:400]) == [model.decide(*said) for said in commands[:400]]
        with KeyByKey(cluster, KEY, to=away) as moving:
            keys = moving.keys()
            first = {
                "no key": [],
                "the partition's own": [KEY],
                "all others": [key for key in keys if key != KEY],
                "half of them": Random(11).sample(keys, len(keys) // 2),
            }[went_first]
            if first:
                moving.move(first)
            with pytest.raises(RedisError):
                store.decide_batch(commands[400:800])
            assert_refused(cluster, refusal)
            moving.finish()
        assert store.decide_batch(commands[400:800]) == [model.decide(*said) for said in commands[400:800]]
        move_at_once(cluster, KEY, to=home)
        assert store.decide_batch(commands[800:]) == [model.decide(*said) for said in commands[800:]]


def assert_refused(cluster: list[ValkeyServer], refusal: type[RedisError]) -> None:
    """Neither node lets a script of ours do anything, however it is asked."""
    scripts: list[Callable[[SlotStore, StoredPartition], Awaitable[object]]] = [
        lambda store, _: store.fence(GENERATION),
        lambda store, _: store.check(generation=GENERATION, expected=399),
        lambda store, _: store.clear(GENERATION),
        lambda _, stored: stored.read("h/d"),
        lambda _, stored: stored.mark_for_rebuild(),
    ]

    async def ask() -> None:
        for script in scripts:
            redis = connect_redis(url_of(cluster))
            with pytest.raises(refusal):
                await script(SlotStore(redis, 0), StoredPartition(redis, 0))
            await redis.aclose()

    asyncio.run(ask())
