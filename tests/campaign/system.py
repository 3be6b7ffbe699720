"""The system under the campaign: servers, allocators, a load on them, and a watch over what they say."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from services.auditor.kafka import audit_topics
from services.auditor.report import Report
from services.settings import Settings
from tests.campaign.load import Acknowledged, Load, digest
from tests.campaign.redis import PARTITIONS, ClusterRedis, OneRedis
from tests.campaign.servers import Kafka
from tests.campaign.watch import Watch
from tests.integration.running import RunningAllocator, create_topics, read_all

STEADY_WITHIN_S = 120.0
RECOVERED_WITHIN_S = 60.0
LOG_LINES_SHOWN = 60


class Broken(Exception):  # noqa: N818  it is what is to be shown
    """A promise was not kept; the text says which."""


class Audited(NamedTuple):
    """What the audit found, and which acknowledged commands the log does not hold."""

    report: Report
    lost: list[Acknowledged]


class System:
    """Allocators at work between a Kafka and a Redis; `with` starts and stops them, the load and the watch.

    Attributes:
        kafka: its brokers.
        redis: one Redis, or a cluster.
        settings: reach the servers without a proxy.
        allocators: those that are meant to run.
        load: what is sent.
        watch: what is said.
    """

    def __init__(
        self, name: str, folder: Path, kafka: Kafka, redis: OneRedis | ClusterRedis, *, seed: int, rate_per_s: int
    ) -> None:
        """Prepare one on these servers; its topics and its group carry the name."""
        self.folder = folder
        self.kafka = kafka
        self.redis = redis
        self.settings = Settings(
            kafka_bootstrap_servers=kafka.address,
            redis_url=redis.url,
            commands_topic=f"{name}.commands",
            events_topic=f"{name}.events",
            dead_letters_topic=f"{name}.dead-letters",
            consumer_group=f"{name}.allocator",
        )
        self.allocators: list[RunningAllocator] = []
        self.load = Load(self.settings, seed=seed, rate_per_s=rate_per_s, partitions=PARTITIONS)
        self.watch = Watch(self.settings, PARTITIONS)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            create_topics(self.settings, PARTITIONS, replication=self.kafka.replication)
            stack.callback(self._stop_allocators)
            self.restore()
            stack.enter_context(self.watch)
            stack.enter_context(self.load)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # ------------------------------------------------------------------------------------------------- allocators

    def settings_of_allocators(self, redis_url: str | None = None) -> Settings:
        """Give what allocators are started with: they reach the servers through proxies, where there are some."""
        proxied = {
            "kafka_bootstrap_servers": self.kafka.proxied,
            "redis_url": redis_url or self.redis.proxied_url,
        }
        return self.settings.model_copy(update=proxied)

    def start_allocator(self, *, root: Path | None = None, redis_url: str | None = None) -> RunningAllocator:
        """Start one more, of the version in `root` and on another Redis if given; it need not be ready."""
        allocator = RunningAllocator(self.settings_of_allocators(redis_url), wait=False, root=root)
        self.allocators.append(allocator)
        return allocator

    def forget(self, allocator: RunningAllocator) -> None:
        """Let go of one that has ended."""
        self.allocators.remove(allocator)
        allocator.__exit__(None, None, None)

    def restore(self, count: int = 3) -> None:
        """Bring their number to this one, all of this version, and wait until they work."""
        while len(self.allocators) > count:
            self.stop_allocator(self.allocators[-1])
        while len(self.allocators) < count:
            self.start_allocator()
        self.wait_until_shared()

    def stop_allocator(self, allocator: RunningAllocator) -> None:
        """SIGTERM one and wait until it has ended well."""
        status = allocator.stop()
        if status != 0:
            raise Broken(f"an allocator ended with status {status}\n{tail(allocator)}")
        self.forget(allocator)

    def an_owner(self) -> RunningAllocator:
        """Give one that has partitions."""
        return max(self.allocators, key=lambda allocator: len(allocator.partitions))

    def wait_until_shared(self, among: list[RunningAllocator] | None = None) -> None:
        """Wait until these, or all of them, work on every partition."""
        those = self.allocators if among is None else among
        self.until(lambda: are_at_work(those), f"{len(those)} allocators share the partitions")

    def until(self, holds: Callable[[], bool], what: str, *, within_s: float = STEADY_WITHIN_S) -> None:
        """Poll for a condition, and for allocators that end by themselves."""
        deadline = time.monotonic() + within_s
        while not holds():
            self.load.check()
            for allocator in self.allocators:
                if allocator.process.poll() is not None:
                    raise Broken(f"an allocator ended by itself\n{tail(allocator)}")
            if time.monotonic() > deadline:
                states = [allocator.partitions for allocator in self.allocators]
                logs = "\n".join(f"--- allocator {n}\n{tail(each)}" for n, each in enumerate(self.allocators))
                raise Broken(f"not within {within_s:g} s: {what}; partitions: {states}\n{logs}")
            time.sleep(0.02)

    def _stop_allocators(self) -> None:
        for allocator in self.allocators:
            allocator.__exit__(None, None, None)

    # ------------------------------------------------------------------------------------------------- servers, load

    @property
    def one_redis(self) -> OneRedis:
        """The Redis of a system that has one."""
        assert isinstance(self.redis, OneRedis)
        return self.redis

    @property
    def cluster(self) -> ClusterRedis:
        """The Redis of a system that has a cluster."""
        assert isinstance(self.redis, ClusterRedis)
        return self.redis

    def let_load_go_on(self, commands: int) -> None:
        """Wait until so many more commands were acknowledged."""
        before = self.load.count
        self.until(lambda: self.load.count >= before + commands, f"{commands} more commands were sent")

    # ------------------------------------------------------------------------------------------------------- proof

    def wait_until_answered(self, sent_after: float, *, within_s: float) -> float:
        """Wait until each partition has answered a command sent after that time; gives when the last of them did."""
        self.until(
            lambda: None not in self._answers(sent_after), "every partition decides what was sent", within_s=within_s
        )
        return max(at for at in self._answers(sent_after) if at is not None)

    def _answers(self, sent_after: float) -> list[float | None]:
        firsts = [self.load.first_sent_after(partition, sent_after) for partition in range(PARTITIONS)]
        return [None if first is None else self.watch.answered_at(p, first) for p, first in enumerate(firsts)]

    def audit(self) -> Audited:
        """Stop the load, and look whether anything was lost, and whether all that was sent was decided once."""
        self.load.stop()
        settings = self.settings.model_copy(update={"redis_url": self.redis.url})
        report = audit_topics(settings, wait_s=STEADY_WITHIN_S, redis=True)
        if not report.holds:
            raise Broken(f"the audit does not hold: {json.dumps(report.as_json(), indent=1)}")
        log = {
            (record.partition, record.offset): digest(record.value)
            for record in read_all(self.settings, self.settings.commands_topic)
        }
        acknowledged = ((partition, ack) for partition, own in enumerate(self.load.acknowledged) for ack in own)
        return Audited(
            report, [ack for partition, ack in acknowledged if log.get((partition, ack.offset)) != ack.digest]
        )


def are_at_work(allocators: list[RunningAllocator]) -> bool:
    """Whether these have every partition between them, each once, and work on it."""
    shares = [allocator.partitions for allocator in allocators]
    owned = sorted(partition for share in shares for partition, state in share.items() if state == "working")
    return owned == [str(partition) for partition in range(PARTITIONS)] and all(map(len, shares[:PARTITIONS]))


def tail(allocator: RunningAllocator) -> str:
    """Give the last lines of its log, without what aiokafka says of a server that is away."""
    lines = [line for line in allocator.log.splitlines() if "[aiokafka" not in line]
    return "\n".join(lines[-LOG_LINES_SHOWN:])
