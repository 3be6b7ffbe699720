"""What may befall Kafka."""

import time
from random import Random

from aiokafka.errors import KafkaError

from tests.campaign.fault import Landed
from tests.campaign.proxy import Proxy, acknowledgements, nothing
from tests.campaign.redis import PARTITIONS
from tests.campaign.servers import leaders
from tests.campaign.system import RECOVERED_WITHIN_S, Broken, System

SESSION_S = 6.0
NOBODY = -1


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
    system.wait_until_answered(healed_at, within_s=RECOVERED_WITHIN_S)
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
