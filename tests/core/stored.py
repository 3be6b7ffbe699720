"""A partition of the slot store, asked call by call, and looked at from outside."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from redis import Redis as SyncRedis
from redis.asyncio import Redis

from allocation_core.store import BatchedCommand, Refusal, SlotStore
from schemas.commands import Command
from schemas.wire import command_key
from tests.core.commands import make_command

NOON_MS = 1_795_435_200_000  # 2026-11-23T12:00:00Z
OWNED = 5
APPLIED = 7
PARTITION = "opd{0}"

Ask = Callable[[SlotStore, Redis], Awaitable[Any]]


class Refused(NamedTuple):
    """What is stored otherwise, and the refusal that follows; `found` is what it says stood there."""

    stored: dict[str, str | None]
    refusal: type[Refusal]
    found: str


def close(number: int, department: str = "d") -> Command:
    pool = {"facility_id": "h", "department_id": department, "date": "2026-11-23", "slot": "09:00-10:00"}
    return make_command("CloseSlot", f"c{number}", pool)


def a_batch(*offsets: int, department: str = "d") -> list[BatchedCommand]:
    commands = {offset: close(offset, department) for offset in offsets}
    return [BatchedCommand(offset, NOON_MS, command_key(command), command) for offset, command in commands.items()]


async def decide(
    store: SlotStore,
    *offsets: int,
    expected: int,
    generation: int = OWNED,
    committed: int = 0,
    last: int | None = None,
    digest: bytes = b"digest",
) -> Any:
    return await store.decide(
        a_batch(*offsets),
        generation=generation,
        expected=expected,
        committed=committed,
        last=max(offsets) if last is None else last,
        digest=digest,
    )


def with_store(url: str, ask: Ask, partition: int = 0) -> Any:
    async def run() -> Any:
        async with Redis.from_url(url) as redis:
            return await ask(SlotStore(redis, partition), redis)

    return asyncio.run(run())


def everything(url: str) -> dict[bytes, bytes | None]:
    with SyncRedis.from_url(url) as redis:
        return {key: redis.dump(key) for key in redis.scan_iter()}


def written(url: str, **fields: str | None) -> None:
    with SyncRedis.from_url(url) as redis:
        for name, value in fields.items():
            if value is None:
                redis.hdel(PARTITION, name)
            else:
                redis.hset(PARTITION, name, value)


class Interrupted:
    """A client that does something else before its first search for keys goes on."""

    def __init__(self, redis: Redis, meanwhile: Callable[[], Awaitable[Any]]) -> None:
        self._redis, self._meanwhile = redis, meanwhile

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        return await self._redis.execute_command(*args, **options)  # type: ignore[no-untyped-call]  # it carries none

    async def scan_iter(self, match: str, count: int) -> Any:
        found = [key async for key in self._redis.scan_iter(match=match, count=count)]
        await self._meanwhile()
        for key in found:
            yield key
