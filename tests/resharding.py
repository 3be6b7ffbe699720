"""Moving the slot of a key to another master of a Redis Cluster, in both ways there are."""

from contextlib import ExitStack
from typing import Self

from redis import Redis
from redis.crc import key_slot

from services.stack import ValkeyServer
from services.stack.ports import LOOPBACK
from tests.redis_cluster import master_of, masters_of
from tests.waiting import until

KEYS_AT_ONCE = 100
MIGRATE_WITHIN_MS = 5_000


class KeyByKey:
    """A slot that goes key by key, as every version can; until `finish` two masters share its keys."""

    def __init__(self, servers: list[ValkeyServer], key: str, *, to: ValkeyServer | None = None) -> None:
        """Begin: the slot's master gives, this or any other one takes."""
        self._slot = key_slot(key.encode())
        giving = master_of(servers, key)
        taking = to or another_master(servers, giving)
        self._stack = ExitStack()
        self._nodes = [self._stack.enter_context(client_of(server)) for server in masters_of(servers)]
        self._giving = self._stack.enter_context(client_of(giving))
        self._taking = self._stack.enter_context(client_of(taking))
        self._port = self._taking.config_get("port")["port"]
        self._id = id_of(self._taking)
        self._taking.execute_command("CLUSTER", "SETSLOT", self._slot, "IMPORTING", id_of(self._giving))
        self._giving.execute_command("CLUSTER", "SETSLOT", self._slot, "MIGRATING", self._id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def keys(self) -> list[str]:
        """Give keys that still stand where they stood."""
        found: list[str] = self._giving.execute_command("CLUSTER", "GETKEYSINSLOT", self._slot, KEYS_AT_ONCE)
        return found

    def move(self, keys: list[str]) -> None:
        """Move these keys."""
        self._giving.execute_command("MIGRATE", LOOPBACK, self._port, "", 0, MIGRATE_WITHIN_MS, "KEYS", *keys)

    def finish(self) -> None:
        """Move what is left, and give the slot over."""
        while keys := self.keys():
            self.move(keys)
        for node in (self._taking, self._giving, *self._nodes):
            node.execute_command("CLUSTER", "SETSLOT", self._slot, "NODE", self._id)


def move_at_once(servers: list[ValkeyServer], key: str, *, to: ValkeyServer | None = None) -> None:
    """Move the slot as a whole (Valkey 9) to this or any other master: one has it until the other one has."""
    slot = key_slot(key.encode())
    giving = master_of(servers, key)
    with client_of(giving) as source, client_of(to or another_master(servers, giving)) as target:
        source.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", id_of(target))
        until(lambda: master_of(servers, key) is not giving, "the slot has moved")


def another_master(servers: list[ValkeyServer], than: ValkeyServer) -> ValkeyServer:
    """Give a master that is not this one."""
    return next(server for server in masters_of(servers) if server is not than)


def client_of(server: ValkeyServer) -> Redis:
    """Give a client of one node."""
    return Redis.from_url(server.url, decode_responses=True)


def id_of(node: Redis) -> str:
    """Give the name that the cluster knows a node by."""
    return str(node.cluster("MYID"))
