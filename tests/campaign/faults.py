"""What may befall the system. Each fault is done under load, proves that it landed, and leaves whole servers behind."""

import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import psutil
from aiokafka.errors import KafkaError
from redis import Redis

from services.stack.ports import LOOPBACK
from tests.campaign.proxy import Proxy, acknowledgements, everything, nothing
from tests.campaign.servers import leaders
from tests.campaign.system import PARTITIONS, Broken, System, applied_in, data_of, port_of
from tests.integration.running import RunningAllocator

REDIS_PATIENCE_S = 10.0  # of an allocator that waits for a reply
SESSION_S = 6.0
NOBODY = -1


class Landed(NamedTuple):
    """That a fault hit.

    Attributes:
        at: when, in seconds of the monotonic clock.
        healed_at: from when on nothing but the engine itself was in its way.
        proof: what shows it.
    """

    at: float
    healed_at: float
    proof: str


@dataclass(frozen=True)
class Fault:
    """A fault, and how soon all partitions must be deciding again.

    Attributes:
        name: as it stands in the table.
        play: does it.
        goal_s: the promised time; None where there is none.
        handed_over: what is timed is the longest silence of a partition, not the time from healing on.
        in_short: whether the short campaign plays it too.
    """

    name: str
    play: Callable[[System, Random], Landed]
    goal_s: float | None = None
    handed_over: bool = False
    in_short: bool = True


# ---------------------------------------------------------------------------------------------------------- allocators


def kill_allocator(system: System, _rng: Random) -> Landed:
    """SIGKILL: the group learns of it when the session times out."""
    victim = system.an_owner()
    owned = sorted(victim.partitions)
    at = time.monotonic()
    victim.kill()
    proof = f"partitions {', '.join(owned)}; status {victim.process.returncode}"
    system.forget(victim)
    return Landed(at, at, proof)


def stall_allocator(system: System, _rng: Random) -> Landed:
    """SIGSTOP until the others have its partitions, then SIGCONT: it wakes up in the middle of its batch."""
    victim = system.an_owner()
    owned = sorted(victim.partitions)
    others = [allocator for allocator in system.allocators if allocator is not victim]
    at = time.monotonic()
    victim.process.send_signal(signal.SIGSTOP)
    system.until(lambda: psutil.Process(victim.process.pid).status() == psutil.STATUS_STOPPED, "it stands still")
    system.wait_until_shared(others)
    stalled_s = time.monotonic() - at
    victim.process.send_signal(signal.SIGCONT)
    return Landed(at, at, f"partitions {', '.join(owned)}; stood still for {stalled_s:.1f} s")


def terminate_allocator(system: System, _rng: Random) -> Landed:
    """SIGTERM: the batch in flight is finished and the partitions are handed over."""
    victim = system.an_owner()
    owned = sorted(victim.partitions)
    at = time.monotonic()
    system.stop_allocator(victim)
    return Landed(at, at, f"partitions {', '.join(owned)}; ended well after {time.monotonic() - at:.1f} s")


def scale(system: System, _rng: Random) -> Landed:
    """One allocator, then four, then two."""
    at = time.monotonic()
    for count in (1, 4, 2):
        system.restore(count)
        system.let_load_go_on(100)
    return Landed(at, time.monotonic(), "1, 4, then 2 allocators had all partitions")


def roll_versions(system: System, _rng: Random) -> Landed:
    """Each allocator gives way to one of the former version, and that one to this version again."""
    former = system.former
    assert former is not None
    at = time.monotonic()
    for root in (former.root, None):
        for allocator in list(system.allocators):
            system.stop_allocator(allocator)
            system.start_allocator(root=root)
            system.wait_until_shared()
    return Landed(at, time.monotonic(), f"{former.name}, one by one, and back")


# --------------------------------------------------------------------------------------------------------------- Redis


def restart_redis(system: System, _rng: Random) -> Landed:
    """SIGKILL, and start again with all that it had."""
    at, pid = time.monotonic(), system.valkey.process.pid
    system.valkey.kill()
    _wait_until_missed(system)
    system.valkey.start()
    return Landed(at, time.monotonic(), f"pid {pid}, then {system.valkey.process.pid}")


def lose_redis_tail(system: System, rng: Random) -> Landed:
    """SIGKILL, and what it wrote last to its append-only file is lost."""
    before, at = system.applied(), time.monotonic()
    with system.redis_shut_off():
        system.valkey.kill()
        newest = max(data_of(system.valkey).glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime)
        size = newest.stat().st_size
        lost = rng.randint(size // 10, size // 2)
        with newest.open("r+b") as file:
            file.truncate(size - lost)
        system.valkey.start()
        proof = _went_back(before, system.applied())
    return Landed(at, time.monotonic(), f"{lost:,} bytes; {proof}")


def restore_older_redis(system: System, _rng: Random) -> Landed:
    """SIGKILL, and start again with a copy of its data that is some seconds old."""
    data, copy = data_of(system.valkey), system.folder / "older"
    shutil.copytree(data, copy)
    system.let_load_go_on(600)
    before, at = system.applied(), time.monotonic()
    with system.redis_shut_off():
        system.valkey.kill()
        shutil.rmtree(data)
        copy.rename(data)
        system.valkey.start()
        proof = _went_back(before, system.applied())
    return Landed(at, time.monotonic(), proof)


def flush_redis(system: System, _rng: Random) -> Landed:
    """FLUSHALL."""
    with system.redis() as redis, redis.pipeline() as together:
        together.dbsize().flushall().dbsize()
        at = time.monotonic()
        before, _, after = together.execute()
    if not before or after:
        raise Broken(f"FLUSHALL found {before} keys and left {after}")
    return Landed(at, time.monotonic(), f"{before} keys gone")


def promote_replica(system: System, _rng: Random) -> Landed:
    """A replica that lacks the newest writes takes over."""
    replica = system.another_valkey()
    with Redis.from_url(replica.url, decode_responses=True) as redis:
        redis.replicaof(LOOPBACK, port_of(system.valkey))
        system.until(lambda: redis.info("replication")["master_link_status"] == "up", "the replica follows")
        system.until(lambda: min(applied_in(redis)) >= 0, "the replica has what its master has")
        redis.replicaof("NO", "ONE")
        system.let_load_go_on(600)
        at = time.monotonic()
        proof = _went_back(system.applied(), applied_in(redis))
    system.take_over(replica)
    return Landed(at, time.monotonic(), proof)


def flush_scripts(system: System, _rng: Random) -> Landed:
    """SCRIPT FLUSH: the next call by digest finds none."""
    with system.redis() as redis, redis.pipeline() as together:
        at = time.monotonic()
        known = redis.info("memory")["number_of_cached_scripts"]
        together.script_flush()
        together.info("memory")
        left = together.execute()[1]["number_of_cached_scripts"]
    if not known or left:
        raise Broken(f"SCRIPT FLUSH found {known} scripts and left {left}")
    return Landed(at, time.monotonic(), f"{known} scripts gone")


def pause_redis(system: System, _rng: Random) -> Landed:
    """CLIENT PAUSE for longer than an allocator waits for a reply."""
    with system.redis() as redis:
        at = time.monotonic()
        redis.client_pause(int((REDIS_PATIENCE_S + 1.5) * 1000), all=True)
        _wait_until_missed(system)
        redis.ping()
    return Landed(at, time.monotonic(), f"{time.monotonic() - at:.1f} s without a reply; allocators gave it up")


def stall_redis(system: System, _rng: Random) -> Landed:
    """SIGSTOP of the server for longer than an allocator waits for a reply, then SIGCONT."""
    server = psutil.Process(system.valkey.process.pid)
    at = time.monotonic()
    server.suspend()
    try:
        _wait_until_missed(system)
    finally:
        server.resume()
    return Landed(at, time.monotonic(), f"stood still for {time.monotonic() - at:.1f} s; allocators gave it up")


def cut_redis(system: System, _rng: Random) -> Landed:
    """Connections are reset, several times."""
    at, cut = time.monotonic(), 0
    for _ in range(5):
        cut += system.redis_proxy.cut()
        system.let_load_go_on(60)
    if not cut:
        raise Broken("there was no connection to cut")
    return Landed(at, time.monotonic(), f"{cut} connections cut")


def slow_redis(system: System, _rng: Random) -> Landed:
    """Every call takes half a second."""
    at = time.monotonic()
    system.redis_proxy.delay_s = 0.25
    before = sum(map(_slow_scripts, system.allocators))
    system.let_load_go_on(1200)
    slow = sum(map(_slow_scripts, system.allocators)) - before
    system.redis_proxy.delay_s = 0.0
    if not slow:
        raise Broken("no script call was slow")
    return Landed(at, time.monotonic(), f"{slow} slow script calls")


def lose_redis_replies(system: System, _rng: Random) -> Landed:
    """Scripts run, but nobody hears of it, and the connections break."""
    at, before = time.monotonic(), system.applied()
    system.redis_proxy.swallows = everything
    try:
        system.until(lambda: system.applied() != before, "a script ran unheard")
        system.let_load_go_on(200)
    finally:
        cut = system.redis_proxy.cut()
        system.redis_proxy.swallows = nothing
    return Landed(at, time.monotonic(), f"{sum(system.applied()) - sum(before)} commands applied, {cut} replies lost")


# --------------------------------------------------------------------------------------------------------------- Kafka


def restart_kafka(system: System, _rng: Random) -> Landed:
    """SIGKILL of the only broker, and start again."""
    (broker,) = system.kafka.brokers
    at, pid = time.monotonic(), broker.process.pid
    broker.kill()
    broker.start()
    return Landed(at, time.monotonic(), f"pid {pid}, then {broker.process.pid}; down {time.monotonic() - at:.1f} s")


def cut_kafka(system: System, _rng: Random) -> Landed:
    """Connections are reset, several times."""
    proxy = _kafka_proxy(system)
    at, cut = time.monotonic(), 0
    for _ in range(5):
        cut += proxy.cut()
        system.let_load_go_on(60)
    if not cut:
        raise Broken("there was no connection to cut")
    return Landed(at, time.monotonic(), f"{cut} connections cut")


def slow_kafka(system: System, _rng: Random) -> Landed:
    """Everything takes half a second longer to Kafka and back."""
    proxy = _kafka_proxy(system)
    at = time.monotonic()
    proxy.delay_s = 0.25
    system.let_load_go_on(1200)
    lag = max(system.load.acknowledged[p][-1].offset - system.watch.answered(p) for p in range(PARTITIONS))
    proxy.delay_s = 0.0
    return Landed(at, time.monotonic(), f"{proxy.connections} connections; up to {lag} commands behind")


def lose_acknowledgements(system: System, _rng: Random) -> Landed:
    """Events are appended, but nobody hears of it, and the connections break."""
    proxy = _kafka_proxy(system)
    at, before = time.monotonic(), [system.watch.answered(partition) for partition in range(PARTITIONS)]
    proxy.swallows = acknowledgements
    try:
        system.let_load_go_on(400)
        after = [system.watch.answered(partition) for partition in range(PARTITIONS)]
    finally:
        cut = proxy.cut()
        proxy.swallows = nothing
    unheard = sum(after) - sum(before)
    if not unheard:
        raise Broken("no acknowledgement was lost")
    return Landed(at, time.monotonic(), f"the events of {unheard} commands appended unheard, {cut} connections cut")


def cut_kafka_off(system: System, _rng: Random) -> Landed:
    """Nothing goes through for longer than a session, then all of it does: everybody has lost what they hold."""
    proxy = _kafka_proxy(system)
    at = time.monotonic()
    proxy.hold()
    try:
        system.until(lambda: time.monotonic() > at + SESSION_S + 2, "the sessions are over")
        held = proxy.connections
    finally:
        proxy.release()
    return Landed(at, time.monotonic(), f"{held} connections held up for {SESSION_S + 2:g} s")


def kill_leader(system: System, rng: Random) -> Landed:
    """SIGKILL of a broker that leads partitions of the commands; the other two go on."""
    return _kill_a_leader(system, rng, system.settings.commands_topic)


def kill_coordinator(system: System, rng: Random) -> Landed:
    """SIGKILL of a broker that coordinates the groups of a partition of their topic, this group perhaps."""
    return _kill_a_leader(system, rng, "__consumer_offsets")


def _kill_a_leader(system: System, rng: Random, topic: str) -> Landed:
    before = leaders(system.kafka.address, topic)
    victim = rng.choice(sorted(set(before.values())))
    broker = system.kafka.brokers[victim - 1]
    at = time.monotonic()
    broker.kill()
    alive = next(other.address for other in system.kafka.brokers if other is not broker)
    system.until(lambda: _others_lead(alive, topic, victim), "others lead")
    healed_at = time.monotonic()
    system.wait_until_answered(healed_at, within_s=60)
    broker.start()
    led = sum(leader == victim for leader in before.values())
    return Landed(at, healed_at, f"broker {victim} led {led} partitions of {topic}, then others did")


def _others_lead(address: str, topic: str, victim: int) -> bool:
    try:
        now = set(leaders(address, topic).values())
    except KafkaError:
        return False
    return not now & {victim, NOBODY}


def _kafka_proxy(system: System) -> Proxy:
    assert system.kafka.proxy is not None
    return system.kafka.proxy


def _wait_until_missed(system: System) -> None:
    """Wait until allocators have found out that Redis does not answer."""
    system.until(
        lambda: all("waiting: Redis" in each.partitions.values() for each in system.allocators), "Redis is missed"
    )


def _went_back(before: list[int], after: list[int]) -> str:
    lost = [max(0, old - new) for old, new in zip(before, after, strict=True)]
    if not any(lost):
        raise Broken(f"Redis had applied {before}, and {after} after: nothing was lost")
    return f"applied went back by {lost}"


def _slow_scripts(allocator: RunningAllocator) -> int:
    counts = {
        line.split(" ")[0]: float(line.split(" ")[1])
        for line in allocator.get("/metrics")[1].splitlines()
        if line.startswith("opd_script_seconds_")
    }
    return int(counts["opd_script_seconds_count"] - counts['opd_script_seconds_bucket{le="0.2"}'])


KILLED_GOAL_S, HANDED_OVER_GOAL_S, REDIS_BACK_GOAL_S = 7.0, 1.0, 2.0

FAULTS = [
    Fault("allocator killed", kill_allocator, KILLED_GOAL_S, handed_over=True),
    Fault("allocator stalled, woken", stall_allocator, KILLED_GOAL_S, handed_over=True),
    Fault("allocator stopped", terminate_allocator, HANDED_OVER_GOAL_S, handed_over=True),
    Fault("allocators 1, 4, 2", scale, in_short=False),
    Fault("two versions rolled", roll_versions),
    Fault("Redis killed, restarted", restart_redis, REDIS_BACK_GOAL_S),
    Fault("Redis lost its tail", lose_redis_tail, REDIS_BACK_GOAL_S),
    Fault("Redis of before restored", restore_older_redis, REDIS_BACK_GOAL_S),
    Fault("Redis flushed", flush_redis),  # the whole log is played again: as long as the log is
    Fault("late replica promoted", promote_replica, REDIS_BACK_GOAL_S),
    Fault("Redis scripts flushed", flush_scripts, REDIS_BACK_GOAL_S),
    Fault("Redis paused", pause_redis, REDIS_BACK_GOAL_S),
    Fault("Redis stalled", stall_redis, REDIS_BACK_GOAL_S, in_short=False),
    Fault("Redis cut", cut_redis, REDIS_BACK_GOAL_S),
    Fault("Redis slow", slow_redis, REDIS_BACK_GOAL_S),
    Fault("Redis replies lost", lose_redis_replies, REDIS_BACK_GOAL_S),
    Fault("Kafka killed, restarted", restart_kafka),
    Fault("Kafka cut", cut_kafka),
    Fault("Kafka slow", slow_kafka),
    Fault("acknowledgements lost", lose_acknowledgements),
    Fault("Kafka unreachable", cut_kafka_off, in_short=False),
]
FAULTS_OF_THREE_BROKERS = [
    Fault("Kafka lost a leader", kill_leader),
    Fault("Kafka lost a coordinator", kill_coordinator),
    Fault("allocator killed", kill_allocator, KILLED_GOAL_S, handed_over=True),
]
