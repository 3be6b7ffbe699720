"""The client of Redis that the services share."""

from typing import Any

from redis.asyncio import Redis as RedisNode
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisClusterException
from redis.exceptions import TimeoutError as NoReply

REDIS_ANSWERS_WITHIN_S = 10.0


class Cluster(RedisCluster):
    """A client of Redis Cluster; no node to be reached, or none known for a slot, is a lost connection as any other."""

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Send one command to its node.

        Raises:
            RedisError: it failed; what redis-py raises of a cluster as a whole is none.
        """
        try:
            try:
                return await super().execute_command(*args, **kwargs)
            except (NotConnected, NoReply) as error:
                # Else the next command may begin by asking the very node that is silent where the slots are now.
                await self.initialize(last_failed_node_name=getattr(error, "last_failed_node_name", None))
                raise
        # redis-py looks for attributes of nodes that it does not find, as while a slot moves to one that has none yet.
        except (RedisClusterException, AttributeError) as error:
            raise NotConnected(f"the cluster cannot be reached, or its slots are being moved: {error}") from error


def is_cluster(url: str) -> bool:
    """Say whether an address is a cluster's: `redis+cluster://`, or `rediss+cluster://` with TLS."""
    return url.partition(":")[0].endswith("+cluster")


def connect_redis(url: str) -> RedisNode | RedisCluster:
    """Give a client that sends each command once: a script whose reply was lost is asked about, not sent again."""
    options: dict[str, Any] = {
        "socket_timeout": REDIS_ANSWERS_WITHIN_S,
        "socket_connect_timeout": 2.0,
        "retry": Retry(NoBackoff(), 0),
    }
    if is_cluster(url):
        return Cluster.from_url(url.replace("+cluster", "", 1), **options)
    return RedisNode.from_url(url, **options)
