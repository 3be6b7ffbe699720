"""Redises to be hurt: one server that allocators reach through a proxy, or a cluster of masters and their replicas."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from redis import Redis

from allocation_core.store import partition_key
from services.stack import ValkeyServer
from services.stack.ports import LOOPBACK
from tests.campaign.proxy import Proxy
from tests.redis_cluster import master_of, redis_cluster, url_of

PARTITIONS = 4


class OneRedis:
    """One Redis; `with` starts and stops it.

    Attributes:
        server: the one that allocators work with now.
        proxy: what stands between it and them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server = ValkeyServer(folder / "redis-1")
        self._servers = [self.server]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._stop_servers)
            self.server.start()
            self.proxy = stack.enter_context(Proxy(port_of(self.server)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """Where it is reached without the proxy."""
        return self.server.url

    @property
    def proxied_url(self) -> str:
        """Where allocators reach it."""
        return f"redis://{LOOPBACK}:{self.proxy.port}/0"

    def applied(self) -> list[int]:
        """Give the applied offset of each partition, -1 for none."""
        with self.client() as redis:
            return applied_in(redis)

    def client(self) -> Redis:
        """Give a client that goes past the proxy."""
        return Redis.from_url(self.url)

    @contextmanager
    def shut_off(self) -> Iterator[None]:
        """Let no allocator reach it meanwhile."""
        self.proxy.refuses = True
        self.proxy.cut()
        try:
            yield
        finally:
            self.proxy.refuses = False

    def another(self) -> ValkeyServer:
        """Start an empty Redis; `take_over` makes it the one that allocators work with."""
        server = ValkeyServer(self._folder / f"redis-{len(self._servers) + 1}")
        self._servers.append(server)
        server.start()
        return server

    def take_over(self, server: ValkeyServer) -> None:
        """Lead allocators to another Redis from now on, and end the one they had."""
        former, self.server = self.server, server
        self.proxy.target = port_of(server)
        self.proxy.cut()
        former.stop()
        shutil.rmtree(data_of(former))

    def _stop_servers(self) -> None:
        for server in self._servers:
            server.stop()


class ClusterRedis:
    """A Redis Cluster of three masters with a replica each; `with` starts and stops it.

    Attributes:
        servers: its nodes, of whatever role now.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.servers = self._stack.enter_context(redis_cluster(self._folder, replicas=True))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """Where it is reached."""
        return url_of(self.servers)

    @property
    def proxied_url(self) -> str:
        """Where allocators reach it: nodes name each other by their own ports, so there is no proxy."""
        return self.url

    def applied(self) -> list[int]:
        """Give the applied offset of each partition, -1 for none."""
        found = []
        for partition in range(PARTITIONS):
            with Redis.from_url(self.master_of(partition).url) as redis:
                found.append(applied_at(redis, partition))
        return found

    def master_of(self, partition: int) -> ValkeyServer:
        """Give the node that a partition's state is on now."""
        return master_of(self.servers, partition_key(partition))

    def partitions_of(self, master: ValkeyServer) -> list[int]:
        """Give the partitions whose state is on a node."""
        return [partition for partition in range(PARTITIONS) if self.master_of(partition) is master]


def applied_in(redis: Redis) -> list[int]:
    """Give the applied offset of each partition, -1 for none."""
    return [applied_at(redis, partition) for partition in range(PARTITIONS)]


def applied_at(redis: Redis, partition: int) -> int:
    """Give the applied offset of one partition, -1 for none."""
    return int(redis.hget(partition_key(partition), "applied") or -1)


def port_of(server: ValkeyServer) -> int:
    """Give the port that it listens on."""
    port = urlsplit(server.url).port
    assert port is not None
    return port


def data_of(server: ValkeyServer) -> Path:
    """Give the folder that its data stand in."""
    return server._data
