"""What may befall the one Redis that allocators work with."""

import shutil
import time
from random import Random

import psutil
from redis import Redis

from services.stack.ports import LOOPBACK
from tests.campaign.fault import Landed, went_back
from tests.campaign.proxy import everything, nothing
from tests.campaign.redis import applied_in, data_of, port_of
from tests.campaign.system import Broken, System
from tests.integration.running import RunningAllocator

REDIS_PATIENCE_S = 10.0  # of an allocator that waits for a reply
SLOW_SCRIPT_S = 3.0
MOST_LOST_BYTES = 1_000_000  # of a log that grows: deciding 2,000 commands again takes as long late as early
BUSY_AFTER_MS = 500
ENDLESS = """
local function now() local time = redis.call("TIME"); return time[1] * 1000000 + time[2] end
local ends, turns = now() + ARGV[1], 0
while now() < ends do turns = turns + 1 end
return turns
"""


def restart_redis(system: System, _rng: Random) -> Landed:
    """SIGKILL, and start again with all that it had."""
    redis = system.one_redis
    at, pid = time.monotonic(), redis.server.process.pid
    redis.server.kill()
    wait_until_missed(system)
    redis.server.start()
    return Landed(at, time.monotonic(), f"pid {pid}, then {redis.server.process.pid}")


def lose_redis_tail(system: System, rng: Random) -> Landed:
    """SIGKILL, and what it wrote last to its append-only file is lost."""
    redis = system.one_redis
    before, at = redis.applied(), time.monotonic()
    with redis.shut_off():
        redis.server.kill()
        newest = max(data_of(redis.server).glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime)
        size = newest.stat().st_size
        lost = min(MOST_LOST_BYTES, rng.randint(size // 10, size // 2))
        with newest.open("r+b") as file:
            file.truncate(size - lost)
        redis.server.start()
        proof = went_back(before, redis.applied())
    return Landed(at, time.monotonic(), f"{lost:,} bytes; {proof}")


def restore_older_redis(system: System, _rng: Random) -> Landed:
    """SIGKILL, and start again with a copy of its data that is some seconds old."""
    redis = system.one_redis
    data, copy = data_of(redis.server), system.folder / "older"
    shutil.copytree(data, copy)
    system.let_load_go_on(600)
    before, at = redis.applied(), time.monotonic()
    with redis.shut_off():
        redis.server.kill()
        shutil.rmtree(data)
        copy.rename(data)
        redis.server.start()
        proof = went_back(before, redis.applied())
    return Landed(at, time.monotonic(), proof)


def flush_redis(system: System, _rng: Random) -> Landed:
    """FLUSHALL."""
    return flush(system.redis.url)


def flush(url: str) -> Landed:
    """FLUSHALL of one server."""
    with Redis.from_url(url) as client, client.pipeline() as together:
        together.dbsize().flushall().dbsize()
        at = time.monotonic()
        before, _, after = together.execute()
    if not before or after:
        raise Broken(f"FLUSHALL found {before} keys and left {after}")
    return Landed(at, time.monotonic(), f"{before} keys gone")


def promote_replica(system: System, _rng: Random) -> Landed:
    """A replica that lacks the newest writes takes over."""
    redis = system.one_redis
    replica = redis.another()
    with Redis.from_url(replica.url, decode_responses=True) as client:
        client.replicaof(LOOPBACK, port_of(redis.server))
        system.until(lambda: client.info("replication")["master_link_status"] == "up", "the replica follows")
        system.until(lambda: min(applied_in(client)) >= 0, "the replica has what its master has")
        client.replicaof("NO", "ONE")
        system.let_load_go_on(600)
        at = time.monotonic()
        proof = went_back(redis.applied(), applied_in(client))
    redis.take_over(replica)
    return Landed(at, time.monotonic(), proof)


def flush_scripts(system: System, _rng: Random) -> Landed:
    """SCRIPT FLUSH: the next call by digest finds none."""
    with system.one_redis.client() as client, client.pipeline() as together:
        at = time.monotonic()
        known = client.info("memory")["number_of_cached_scripts"]
        together.script_flush()
        together.info("memory")
        left = together.execute()[1]["number_of_cached_scripts"]
    if not known or left:
        raise Broken(f"SCRIPT FLUSH found {known} scripts and left {left}")
    return Landed(at, time.monotonic(), f"{known} scripts gone")


def pause_redis(system: System, _rng: Random) -> Landed:
    """CLIENT PAUSE for longer than an allocator waits for a reply."""
    with system.one_redis.client() as client:
        at = time.monotonic()
        client.client_pause(int((REDIS_PATIENCE_S + 1.5) * 1000), all=True)
        wait_until_missed(system)
        client.ping()
    return Landed(at, time.monotonic(), f"{time.monotonic() - at:.1f} s without a reply; allocators gave it up")


def block_redis(system: System, _rng: Random) -> Landed:
    """A script of somebody else's runs for seconds: first Redis says nothing, then that it is busy."""
    with system.one_redis.client() as client:
        client.config_set("busy-reply-threshold", BUSY_AFTER_MS)
        at = time.monotonic()
        turns = client.eval(ENDLESS, 0, int(SLOW_SCRIPT_S * 1_000_000))
        blocked_s = time.monotonic() - at
        client.config_set("busy-reply-threshold", 5000)
    return Landed(at, time.monotonic(), f"one script for {blocked_s:.1f} s, {turns:,} turns")


def stall_redis(system: System, _rng: Random) -> Landed:
    """SIGSTOP of the server for longer than an allocator waits for a reply, then SIGCONT."""
    redis = system.one_redis
    server = psutil.Process(redis.server.process.pid)
    at = time.monotonic()
    server.suspend()
    try:
        wait_until_missed(system)
    finally:
        server.resume()
    return Landed(at, time.monotonic(), f"stood still for {time.monotonic() - at:.1f} s; allocators gave it up")


def cut_redis(system: System, _rng: Random) -> Landed:
    """Connections are reset, several times."""
    redis = system.one_redis
    at, cut = time.monotonic(), 0
    for _ in range(5):
        cut += redis.proxy.cut()
        system.let_load_go_on(60)
    if not cut:
        raise Broken("there was no connection to cut")
    return Landed(at, time.monotonic(), f"{cut} connections cut")


def slow_redis(system: System, _rng: Random) -> Landed:
    """Every call takes half a second."""
    redis = system.one_redis
    at = time.monotonic()
    redis.proxy.delay_s = 0.25
    before = sum(map(_slow_scripts, system.allocators))
    system.let_load_go_on(1200)
    slow = sum(map(_slow_scripts, system.allocators)) - before
    redis.proxy.delay_s = 0.0
    if not slow:
        raise Broken("no script call was slow")
    return Landed(at, time.monotonic(), f"{slow} slow script calls")


def lose_redis_replies(system: System, _rng: Random) -> Landed:
    """Scripts run, but nobody hears of it, and the connections break."""
    redis = system.one_redis
    at, before = time.monotonic(), redis.applied()
    redis.proxy.swallows = everything
    try:
        system.until(lambda: redis.applied() != before, "a script ran unheard")
        system.let_load_go_on(200)
    finally:
        cut = redis.proxy.cut()
        redis.proxy.swallows = nothing
    return Landed(at, time.monotonic(), f"{sum(redis.applied()) - sum(before)} commands applied, {cut} replies lost")


def wait_until_missed(system: System) -> None:
    """Wait until allocators have found out that Redis does not answer."""
    system.until(
        lambda: all("waiting: Redis" in each.partitions.values() for each in system.allocators), "Redis is missed"
    )


def _slow_scripts(allocator: RunningAllocator) -> int:
    counts = {
        line.split(" ")[0]: float(line.split(" ")[1])
        for line in allocator.get("/metrics")[1].splitlines()
        if line.startswith("opd_script_seconds_")
    }
    return int(counts["opd_script_seconds_count"] - counts['opd_script_seconds_bucket{le="0.2"}'])
