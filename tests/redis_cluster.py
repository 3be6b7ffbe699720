"""A Redis Cluster of this machine: three masters, each with a replica if asked for."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.crc import key_slot

from services.stack import ValkeyServer
from services.stack.ports import LOOPBACK, free_ports
from tests.waiting import until

MASTERS = 3
SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000


@contextmanager
def redis_cluster(folder: Path, *, replicas: bool = False, spare: bool = False) -> Iterator[list[ValkeyServer]]:
    """Give a cluster's servers: masters with all slots, their replicas in the same order, a master without slots."""
    # The bus listens on another port; by default that is 10,000 higher.
    count = MASTERS * (2 if replicas else 1) + spare
    ports = free_ports(2 * count)
    servers = [
        ValkeyServer(
            folder / f"node-{number}",
            port=ports[number],
            settings={
                "cluster-enabled": "yes",
                "cluster-port": ports[count + number],
                "cluster-node-timeout": NODE_TIMEOUT_MS,
                "cluster-replica-validity-factor": 0,
                "cluster-allow-replica-migration": "no",  # a master whose last slot went stays one
                "repl-diskless-sync-delay": 0,  # by default a replica waits 5 s for others that may come too
            },
        )
        for number in range(count)
    ]
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.start()
        _join(servers)
        yield servers


def master_of(servers: list[ValkeyServer], key: str) -> ValkeyServer:
    """Give the server that a key stands on now."""
    slot = key_slot(key.encode())
    port = next(primary[1] for first, last, primary, *_ in _slots(servers) if first <= slot <= last)
    return _server_at(servers, port)


def masters_of(servers: list[ValkeyServer]) -> list[ValkeyServer]:
    """Give the servers that slots are on now, each once."""
    ports = {primary[1]: None for _, _, primary, *_ in _slots(servers)}
    return [_server_at(servers, port) for port in ports]


def replica_of(servers: list[ValkeyServer], master: ValkeyServer) -> ValkeyServer:
    """Give a server that follows a master; one that has just been started may not be known to the others yet."""

    def followers() -> list[ValkeyServer]:
        return [
            _server_at(servers, replica[1])
            for _, _, primary, *replicas in _slots(servers)
            for replica in replicas
            if _server_at(servers, primary[1]) is master
        ]

    until(lambda: bool(followers()), "the master has a replica")
    return followers()[0]


def wait_until_well(servers: list[ValkeyServer]) -> None:
    """Wait until all nodes agree, and each replica has what its master has."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(Redis.from_url(server.url, decode_responses=True)) for server in servers]
        until(lambda: all(map(_is_well, nodes)) and _agree(nodes), "the cluster is well")


def url_of(servers: list[ValkeyServer]) -> str:
    """Give the URL that names the cluster by one of its servers."""
    return servers[0].url.replace("redis://", "redis+cluster://")


def _slots(servers: list[ValkeyServer]) -> Any:
    alive = next(server for server in servers if server.process.running)
    with Redis.from_url(alive.url) as node:
        return node.execute_command("CLUSTER", "SLOTS")


def _server_at(servers: list[ValkeyServer], port: int) -> ValkeyServer:
    return next(server for server in servers if server.url == f"redis://{LOOPBACK}:{port}/0")


def _join(servers: list[ValkeyServer]) -> None:
    with ExitStack() as stack:
        nodes = [stack.enter_context(Redis.from_url(server.url, decode_responses=True)) for server in servers]
        for number, node in enumerate(nodes[:MASTERS]):
            first, end = SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        met = nodes[0].config_get("port")["port"], nodes[0].config_get("cluster-port")["cluster-port"]
        for node in nodes[1:]:
            node.execute_command("CLUSTER", "MEET", LOOPBACK, *met)
        until(lambda: all(_state(node)["cluster_known_nodes"] == str(len(nodes)) for node in nodes), "all have met")
        replicas = nodes[MASTERS:] if len(nodes) >= 2 * MASTERS else []
        for master, replica in zip(nodes, replicas, strict=False):
            replica.execute_command("CLUSTER", "REPLICATE", master.execute_command("CLUSTER", "MYID"))
    wait_until_well(servers)


def _state(node: "Redis") -> dict[str, str]:
    return dict(node.cluster("INFO"))


def _agree(nodes: list["Redis"]) -> bool:
    views = [_shards(node) for node in nodes]
    replicas = len(nodes) // MASTERS - 1
    return all(view == views[0] for view in views) and all(count == replicas for *_, count in views[0])


def _shards(node: Any) -> list[tuple[int, int, int, int]]:
    """Give first and last slot, the master's port, and how many replicas it has."""
    shards = node.execute_command("CLUSTER", "SLOTS")
    return sorted((first, last, primary[1], len(replicas)) for first, last, primary, *replicas in shards)


def _is_well(node: "Redis") -> bool:
    role = node.info("replication")
    return _state(node)["cluster_state"] == "ok" and role.get("master_link_status", "up") == "up"
