"""The slot store and the allocator on a Redis Cluster of three masters and their replicas."""

import asyncio
import random
import time
from collections.abc import Iterator
from random import Random

import psutil
import pytest
from redis import Redis
from redis.exceptions import TimeoutError as NoReply

import services.redis
from allocation_core.model import Model
from allocation_core.store import NOTHING_APPLIED, BatchedCommand, SlotStore, partition_key
from schemas.wire import command_key
from services.redis import connect_redis
from services.settings import Settings
from services.stack import ValkeyServer
from tests.core.commands import as_allocators_read_it
from tests.core.days import random_commands
from tests.core.engines import StoreEngine, in_batches
from tests.integration.running import RunningAllocator, create_topics, publish
from tests.integration.secured import documented_redis_users, documented_rights_on_a_cluster
from tests.integration.test_allocator import a_random_day, audited
from tests.redis_cluster import MASTERS, master_of, redis_cluster, replica_of, url_of, wait_until_well
from tests.waiting import until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ValkeyServer]]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), replicas=True) as servers:
        yield servers


@pytest.fixture
def on_cluster(settings: Settings, cluster: list[ValkeyServer]) -> Settings:
    flush(cluster)
    return settings.model_copy(update={"redis_url": url_of(cluster)})


def flush(cluster: list[ValkeyServer]) -> None:
    for server in {master_of(cluster, partition_key(partition)).url for partition in range(100)}:
        with Redis.from_url(server) as redis:
            redis.flushall()


def applied(cluster: list[ValkeyServer], partition: int) -> int:
    key = partition_key(partition)
    with Redis.from_url(master_of(cluster, key).url) as redis:
        return int(redis.hget(key, "applied") or -1)


def test_twins_agree_on_a_random_day_in_a_cluster(cluster: list[ValkeyServer]) -> None:
    commands = list(random_commands(3, 5000))
    model = Model()
    with StoreEngine(url_of(cluster)) as store:
        for batch in in_batches(commands, Random(3)):
            for (command, timestamp_ms), stored in zip(batch, store.decide_batch(batch), strict=True):
                assert stored == model.decide(command, timestamp_ms), command


def test_the_documented_user_may_do_enough_on_a_cluster(cluster: list[ValkeyServer]) -> None:
    commands = list(random_commands(4, 200))
    with StoreEngine(url_of(cluster)):  # nothing is there any more
        for server in cluster:
            with Redis.from_url(server.url) as node:
                node.execute_command(*documented_redis_users("secret")[0], *documented_rights_on_a_cluster())

    async def run() -> None:
        redis = connect_redis(url_of(cluster).replace("//", "//opd:secret@"))
        try:
            store = SlotStore(redis, 0)
            await store.fence(2)
            batch = [
                BatchedCommand(offset, timestamp_ms, command_key(command), as_allocators_read_it(command))
                for offset, (command, timestamp_ms) in enumerate(commands)
            ]
            last = batch[-1].offset
            await store.decide(batch, generation=2, expected=NOTHING_APPLIED, committed=0, last=last, digest=b"")
            await store.check(generation=2, expected=last)
            await store.clear(2)
            await store.check(generation=2, expected=NOTHING_APPLIED)
        finally:
            await redis.aclose()

    asyncio.run(run())


def test_a_day_on_a_cluster_that_is_flushed_in_the_middle(on_cluster: Settings, cluster: list[ValkeyServer]) -> None:
    create_topics(on_cluster)
    day = a_random_day(21, 3000)
    with RunningAllocator(on_cluster) as allocator:
        publish(on_cluster, day[:1500])
        audited(on_cluster)
        assert len({master_of(cluster, partition_key(partition)).url for partition in range(4)}) == MASTERS
        flush(cluster)
        publish(on_cluster, day[1500:])
        report = audited(on_cluster)
        assert "taking the partition again" in allocator.log
    assert (report.commands, report.repeats) == (len(day), 0)


def test_a_half_written_state_in_a_cluster_is_rebuilt(on_cluster: Settings, cluster: list[ValkeyServer]) -> None:
    create_topics(on_cluster, partitions=1)
    day = a_random_day(22, 1000)
    publish(on_cluster, day[:900])
    with RunningAllocator(on_cluster) as allocator:
        until(lambda: applied(cluster, 0) == 899, "it decides")
        with Redis.from_url(master_of(cluster, partition_key(0)).url) as redis:
            redis.hset(partition_key(0), "half", "1")
        publish(on_cluster, day[900:])
        until(lambda: applied(cluster, 0) == 999, "it goes on")
        assert "half written" in allocator.log
    audited(on_cluster)


def test_a_replica_takes_over_from_a_master_that_was_killed(on_cluster: Settings, cluster: list[ValkeyServer]) -> None:
    create_topics(on_cluster)
    day = a_random_day(23, 3000)
    key = partition_key(0)
    with RunningAllocator(on_cluster):
        publish(on_cluster, day[:1500])
        until(lambda: applied(cluster, 0) > 0, "it decides")
        master = master_of(cluster, key)
        master.kill()
        publish(on_cluster, day[1500:])
        until(lambda: master_of(cluster, key) is not master, "another server leads")
        report = audited(on_cluster)
    master.start()
    wait_until_well(cluster)
    assert report.commands == len(day)


def test_a_silent_node_is_not_asked_where_the_slots_are(
    cluster: list[ValkeyServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, patience_s = partition_key(0), 3.0
    master = master_of(cluster, key)
    replica, process = replica_of(cluster, master), psutil.Process(master.process.pid)
    monkeypatch.setattr(services.redis, "REDIS_ANSWERS_WITHIN_S", patience_s)
    monkeypatch.setattr(
        random, "shuffle", lambda nodes: nodes.sort(key=lambda node: f":{node.port}/" not in master.url)
    )

    async def ask() -> float:
        redis = connect_redis(url_of(cluster))
        await redis.execute_command("HGET", key, "applied")
        process.suspend()
        try:
            with Redis.from_url(replica.url, decode_responses=True) as node:
                until(lambda: node.info("replication")["role"] == "master", "the replica leads")
            with pytest.raises(NoReply):
                await redis.execute_command("HGET", key, "applied")
            began_at = time.monotonic()
            await redis.execute_command("HGET", key, "applied")
            return time.monotonic() - began_at
        finally:
            process.resume()
            await redis.aclose()

    assert asyncio.run(ask()) < patience_s
    wait_until_well(cluster)
