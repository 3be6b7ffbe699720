"""The system under the campaign: servers, allocators, a load on them, and a watch over what they say."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from redis import Redis

from services.auditor.kafka import audit_topics
from services.auditor.report import Report
from services.settings import Settings
from services.stack import ValkeyServer
from services.stack.ports import LOOPBACK
from tests.campaign.load import Load, digest
from tests.campaign.proxy import Proxy
from tests.campaign.servers import Kafka
from tests.campaign.watch import Watch
from tests.integration.running import RunningAllocator, create_topics, read_all

if TYPE_CHECKING:
    from tests.campaign.versions import Version

PARTITIONS = 4
STEADY_WITHIN_S = 60.0
LOG_LINES_SHOWN = 60


class Broken(Exception):  # noqa: N818  it is what is to be shown
    """A promise was not kept; the text says which."""


class System:
    """Allocators at work between a Kafka and a Redis; `with` starts and stops all of it but the Kafka.

    Attributes:
        kafka: its brokers.
        valkey: the Redis that allocators work with now.
        redis_proxy: what stands between it and them.
        settings: reach the servers without a proxy.
        allocators: those that are meant to run.
        former: the version before this one, if there is one.
        load: what is sent.
        watch: what is said.
    """

    def __init__(self, folder: Path, kafka: Kafka, *, seed: int, rate_per_s: int) -> None:
        self.folder = folder
        self.kafka = kafka
        self.valkey = ValkeyServer(folder / "redis-1")
        self.settings = Settings(kafka_bootstrap_servers=kafka.address, redis_url=self.valkey.url)
        self.allocators: list[RunningAllocator] = []
        self.former: Version | None = None
        self.load = Load(self.settings, seed=seed, rate_per_s=rate_per_s, partitions=PARTITIONS)
        self.watch = Watch(self.settings, PARTITIONS)
        self._stack = ExitStack()
        self._valkeys = [self.valkey]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._stop_valkeys)
            self.valkey.start()
            self.redis_proxy = stack.enter_context(Proxy(port_of(self.valkey)))
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

    def start_allocator(self, *, root: Path | None = None) -> RunningAllocator:
        """Start one more, of the version in `root` if given; it need not be ready."""
        proxied = {
            "kafka_bootstrap_servers": self.kafka.proxied,
            "redis_url": f"redis://{LOOPBACK}:{self.redis_proxy.port}/0",
        }
        allocator = RunningAllocator(self.settings.model_copy(update=proxied), wait=False, root=root)
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

    # ------------------------------------------------------------------------------------------------------ state

    def redis(self) -> Redis:
        """Give a client that goes past the proxy."""
        return Redis.from_url(self.valkey.url)

    def applied(self) -> list[int]:
        """Give the applied offset of each partition, -1 for none."""
        with self.redis() as redis:
            return applied_in(redis)

    @contextmanager
    def redis_shut_off(self) -> Iterator[None]:
        """Let no allocator reach Redis meanwhile."""
        self.redis_proxy.refuses = True
        self.redis_proxy.cut()
        try:
            yield
        finally:
            self.redis_proxy.refuses = False

    def another_valkey(self) -> ValkeyServer:
        """Start an empty Redis; `take_over` makes it the one that allocators work with."""
        server = ValkeyServer(self.folder / f"redis-{len(self._valkeys) + 1}")
        self._valkeys.append(server)
        server.start()
        return server

    def take_over(self, server: ValkeyServer) -> None:
        """Lead allocators to another Redis from now on, and end the one they had."""
        former, self.valkey = self.valkey, server
        self.redis_proxy.target = port_of(server)
        self.redis_proxy.cut()
        former.stop()
        shutil.rmtree(data_of(former))

    def _stop_valkeys(self) -> None:
        for server in self._valkeys:
            server.stop()

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

    def audit(self) -> Report:
        """Stop the load, and prove that nothing was lost and that all that was sent was decided once."""
        self.load.stop()
        report = audit_topics(self.settings, wait_s=STEADY_WITHIN_S)
        if not report.holds:
            raise Broken(f"the audit does not hold: {json.dumps(report.as_json(), indent=1)}")
        log = {
            (record.partition, record.offset): digest(record.value)
            for record in read_all(self.settings, self.settings.commands_topic)
        }
        for partition, acknowledged in enumerate(self.load.acknowledged):
            for ack in acknowledged:
                if log.get((partition, ack.offset)) != ack.digest:
                    raise Broken(f"the log lost the command that was acknowledged at {partition}@{ack.offset}")
        return report


def are_at_work(allocators: list[RunningAllocator]) -> bool:
    """Whether these have every partition between them, each once, and work on it."""
    shares = [allocator.partitions for allocator in allocators]
    owned = sorted(partition for share in shares for partition, state in share.items() if state == "working")
    return owned == [str(partition) for partition in range(PARTITIONS)] and all(map(len, shares[:PARTITIONS]))


def applied_in(redis: Redis) -> list[int]:
    """Give the applied offset of each partition, -1 for none."""
    return [int(redis.hget(f"opd{{{partition}}}", "applied") or -1) for partition in range(PARTITIONS)]


def port_of(server: ValkeyServer) -> int:
    """Give the port that it listens on."""
    port = urlsplit(server.url).port
    assert port is not None
    return port


def data_of(server: ValkeyServer) -> Path:
    """Give the folder that its data stand in."""
    return server._data


def tail(allocator: RunningAllocator) -> str:
    """Give the last lines of its log, without what aiokafka says of a server that is away."""
    lines = [line for line in allocator.log.splitlines() if "[aiokafka" not in line]
    return "\n".join(lines[-LOG_LINES_SHOWN:])
