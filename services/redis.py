"""The client of Redis that the services share."""

from typing import Any

from redis.asyncio import Redis as RedisNode
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

REDIS_ANSWERS_WITHIN_S = 10.0


def connect_redis(url: str) -> RedisNode | RedisCluster:
    """Give a client that sends each command once: a script whose reply was lost is asked about, not sent again."""
    options: dict[str, Any] = {
        "socket_timeout": REDIS_ANSWERS_WITHIN_S,
        "socket_connect_timeout": 2.0,
        "retry": Retry(NoBackoff(), 0),
    }
    if url.startswith("redis+cluster://"):
        return RedisCluster.from_url(url.replace("redis+cluster", "redis", 1), **options)
    return RedisNode.from_url(url, **options)
