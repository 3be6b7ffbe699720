"""What a server must answer before it counts as ready."""

import asyncio
import socket
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from services.redis import is_cluster

KAFKA_PROBE = "a metadata request that names a broker"
REDIS_PROBE = "a PING"
POSTGRES_PROBE = "a connection"
_PROBE_TIMEOUT_S = 3.0


def probe_kafka(bootstrap: str) -> None:
    """Raises whatever is wrong with the Kafka at `host:port`."""
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    # aiokafka logs an error for every refused connection; a server that starts refuses many.
    socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_TIMEOUT_S).close()
    if not _run(_brokers(bootstrap)):
        raise ConnectionError("no broker has registered yet")


async def _brokers(bootstrap: str) -> list[object]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=int(_PROBE_TIMEOUT_S * 1000))
    try:
        await admin.start()
        return list((await admin.describe_cluster())["brokers"])
    finally:
        await admin.close()


def probe_redis(url: str) -> None:
    """Raises whatever is wrong with the Redis at that URL."""
    patience = {"socket_connect_timeout": _PROBE_TIMEOUT_S, "socket_timeout": _PROBE_TIMEOUT_S}
    if is_cluster(url):
        with RedisCluster.from_url(url.replace("+cluster", "", 1), **patience) as cluster:
            cluster.ping()
    else:
        with Redis.from_url(url, retry=Retry(NoBackoff(), 0), **patience) as redis:
            redis.ping()


def probe_postgres(url: str) -> None:
    """Raises whatever is wrong with the PostgreSQL at that URL."""
    _run(_connect(url))


async def _connect(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=_PROBE_TIMEOUT_S)
    await connection.close()


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with ThreadPoolExecutor(1) as thread:  # the caller may be inside an event loop of its own
        return thread.submit(asyncio.run, coroutine).result()
