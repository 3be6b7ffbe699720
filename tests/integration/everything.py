"""All that a running system keeps and tells, as bytes, by where it stands: to look for what must stand nowhere."""

import asyncio
import mmap
from pathlib import Path
from typing import Any

from redis import Redis

from services.history.postgres import connect
from services.settings import Settings
from services.stack import PostgresServer
from tests.integration.running import read_all
from tests.servers import Database


def everything(settings: Settings, postgres: Database, told: dict[str, bytes]) -> dict[str, bytes]:
    """Give topics, Redis, the tables of history, vault and audit trail, what was `told`, and PostgreSQL's own files."""
    found = dict(told)
    for topic in (settings.commands_topic, settings.events_topic, settings.dead_letters_topic):
        found[topic] = b"\n".join(
            b"".join([record.key or b"", record.value or b"", repr(record.headers).encode()])
            for record in read_all(settings, topic)
        )
    with Redis.from_url(settings.redis_url) as redis:
        found["redis"] = b"\n".join(b"".join([key, _value(redis, key)]) for key in redis.scan_iter(count=1000))
    for schema in (settings.history_schema, settings.vault_schema, settings.audit_schema):
        found[schema] = asyncio.run(_tables(settings.postgres_url, schema))
    if isinstance(postgres, PostgresServer):
        found |= {str(file): _bytes(file) for file in postgres.data.rglob("*") if file.is_file()}
    return found


def _value(redis: Redis, key: bytes) -> bytes:
    read: dict[Any, Any] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"set": redis.smembers,
        b"list": lambda name: redis.lrange(name, 0, -1),
        b"zset": lambda name: redis.zrange(name, 0, -1, withscores=True),
    }
    value = read[redis.type(key)](key)
    return value if isinstance(value, bytes) else repr(value).encode()


async def _tables(url: str, schema: str) -> bytes:
    connection = await connect(url, schema)
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        rows: list[object] = []
        for (name,) in names:
            rows += await connection.fetch(f"SELECT * FROM {name}")  # noqa: S608  our own
        return repr(rows).encode()
    finally:
        await connection.close()


def _bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        if file.stat().st_size == 0:
            return b""
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return mapped[:]
