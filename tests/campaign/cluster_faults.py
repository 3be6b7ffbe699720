"""What may befall a Redis Cluster that allocators work with."""

import time
from random import Random

import psutil
from redis import Redis

from allocation_core.store import partition_key
from services.stack import ValkeyServer
from tests.campaign.fault import Landed, went_back
from tests.campaign.redis import PARTITIONS, applied_at, port_of
from tests.campaign.redis_faults import flush, wait_until_missed
from tests.campaign.system import RECOVERED_WITHIN_S, Broken, System
from tests.integration.running import RunningAllocator
from tests.redis_cluster import replica_of, wait_until_well
from tests.resharding import KeyByKey, move_at_once

ENOUGH_TO_LACK = 50


def kill_master(system: System, rng: Random) -> Landed:
    """SIGKILL of a master: its replica takes over."""
    master, replica = _a_pair(system, rng)
    led = system.cluster.partitions_of(master)
    at = time.monotonic()
    master.kill()
    taken = _wait_until_it_leads(system, replica)
    _bring_back(system, master)
    return Landed(at, taken, f"partitions {led}: port {port_of(master)}, {taken - at:.1f} s later its replica")


def fail_over(system: System, rng: Random) -> Landed:
    """CLUSTER FAILOVER: master and replica change places, nothing is lost."""
    master, replica = _a_pair(system, rng)
    at = time.monotonic()
    with Redis.from_url(replica.url) as node:
        node.execute_command("CLUSTER", "FAILOVER")
    taken = _wait_until_it_leads(system, replica)
    wait_until_well(system.cluster.servers)
    return Landed(at, taken, f"port {port_of(master)} gave its slots over within {taken - at:.1f} s")


def lose_newest_writes(system: System, rng: Random) -> Landed:
    """SIGKILL of a master whose replica was cut off from it for a while, and takes over nevertheless."""
    master, replica = _a_pair(system, rng)
    led = system.cluster.partitions_of(master)
    with (
        Redis.from_url(master.url, decode_responses=True) as leading,
        Redis.from_url(replica.url, decode_responses=True) as following,
    ):
        leading.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")  # forgotten when it is started again
        leading.client_kill_filter(_type="replica")
        system.until(lambda: following.info("replication")["master_link_status"] == "down", "the replica is cut off")
        following.readonly()
        kept = [applied_at(following, each) for each in led]
        system.until(lambda: _decided(leading, led) >= sum(kept) + ENOUGH_TO_LACK, "the master is ahead of it")
        at = time.monotonic()
        proof = went_back([applied_at(leading, each) for each in led], kept)
    master.kill()
    taken = _wait_until_it_leads(system, replica)
    _bring_back(system, master)
    return Landed(at, taken, f"partitions {led}: {proof}")


def flush_master(system: System, rng: Random) -> Landed:
    """FLUSHALL of one master; the partitions on others go on."""
    master, _ = _a_pair(system, rng)
    led = system.cluster.partitions_of(master)
    landed = flush(master.url)
    return landed._replace(proof=f"partitions {led}: {landed.proof}")


def stall_master(system: System, rng: Random) -> Landed:
    """SIGSTOP of a master until its replica decides in its stead, and SIGCONT: it takes itself for the master still."""
    master, replica = _a_pair(system, rng)
    process = psutil.Process(master.process.pid)
    at = time.monotonic()
    process.suspend()
    try:
        taken = _wait_until_it_leads(system, replica)
        system.wait_until_answered(taken, within_s=RECOVERED_WITHIN_S)
    finally:
        process.resume()
    wait_until_well(system.cluster.servers)
    return Landed(at, taken, f"port {port_of(master)} stood still; {taken - at:.1f} s later its replica led")


def kill_cluster(system: System, _rng: Random) -> Landed:
    """SIGKILL of all six nodes, and start them again."""
    servers = system.cluster.servers
    at, pids = time.monotonic(), [server.process.pid for server in servers]
    for server in servers:
        server.kill()
    wait_until_missed(system)
    for server in servers:
        server.start()
    wait_until_well(servers)
    return Landed(at, time.monotonic(), f"pids {pids[0]} … {pids[-1]} and all their kind are others now")


def move_slots(system: System, rng: Random) -> Landed:
    """The slots of two partitions move to other nodes, each as a whole."""
    partitions = rng.sample(range(PARTITIONS), 2)
    at = time.monotonic()
    before = [port_of(system.cluster.master_of(partition)) for partition in partitions]
    for partition in partitions:
        move_at_once(system.cluster.servers, partition_key(partition))
    healed_at = time.monotonic()
    wait_until_well(system.cluster.servers)
    after = [port_of(system.cluster.master_of(partition)) for partition in partitions]
    return Landed(at, healed_at, f"partitions {partitions} from ports {before} to {after}")


def move_slot_key_by_key(system: System, rng: Random) -> Landed:
    """The slot of a partition moves key by key: its owner waits meanwhile, and throws nothing away."""
    partition = rng.randrange(PARTITIONS)
    rebuilt = sum(map(_rebuilds, system.allocators))
    at = time.monotonic()
    with KeyByKey(system.cluster.servers, partition_key(partition)) as moving:
        keys = moving.keys()
        some = rng.sample(keys, len(keys) // 2)
        moving.move(some)
        system.until(lambda: _state_of(system, partition) == "waiting: Redis", "its owner waits")
        system.let_load_go_on(300)
        moving.finish()
    healed_at = time.monotonic()
    wait_until_well(system.cluster.servers)
    system.wait_until_answered(healed_at, within_s=RECOVERED_WITHIN_S)
    if sum(map(_rebuilds, system.allocators)) != rebuilt:
        raise Broken(f"partition {partition} was rebuilt because its slot moved")
    return Landed(at, healed_at, f"partition {partition}: its owner waited with {len(some)} of the keys gone")


def _a_pair(system: System, rng: Random) -> tuple[ValkeyServer, ValkeyServer]:
    """Give a master that partitions are on, and its replica."""
    servers = system.cluster.servers
    master = system.cluster.master_of(rng.randrange(PARTITIONS))
    return master, replica_of(servers, master)


def _wait_until_it_leads(system: System, replica: ValkeyServer) -> float:
    with Redis.from_url(replica.url, decode_responses=True) as node:
        system.until(
            lambda: node.info("replication")["role"] == "master" and node.cluster("INFO")["cluster_state"] == "ok",
            "the replica leads",
        )
    return time.monotonic()


def _bring_back(system: System, server: ValkeyServer) -> None:
    """Start a node that was killed; it follows whoever leads now."""
    system.wait_until_answered(time.monotonic(), within_s=RECOVERED_WITHIN_S)
    server.start()
    wait_until_well(system.cluster.servers)


def _decided(master: Redis, partitions: list[int]) -> int:
    return sum(applied_at(master, partition) for partition in partitions)


def _state_of(system: System, partition: int) -> str | None:
    states = (allocator.partitions.get(str(partition)) for allocator in system.allocators)
    return next((state for state in states if state is not None), None)


def _rebuilds(allocator: RunningAllocator) -> int:
    return allocator.log.count("rebuilding the state from the log")
