"""PostgreSQL, a transaction a command: the department's row is locked, and SQL decides (`postgres_rows.sql`).

Answers stay in an outbox until their offset is committed: what a crash interrupts is said again and not decided again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import asyncpg
from aiokafka import TopicPartition
from pydantic_core import from_json, to_json

from benchmarks.peers.loop import Answer, Send, follow, one_by_one, run
from benchmarks.peers.postgres import postgres_url
from benchmarks.peers.records import Command, write
from services.settings import Settings

SCHEMA = Path(__file__).with_suffix(".sql")
CONNECTIONS = 16
BATCH_RECORDS = 500


async def decider(pool: asyncpg.Pool, committed: Mapping[int, int]) -> Callable[[Command], Awaitable[Answer]]:
    """Give what decides one command; `committed` has the group's offset of each partition."""
    if not await pool.fetchval("SELECT to_regclass('outbox')"):
        await pool.execute(SCHEMA.read_text())

    async def decide_one(command: Command) -> Answer:
        row = await pool.fetchrow(
            "SELECT first_sequence, said FROM answer($1, $2, $3, $4, $5)",
            command.key.decode(),
            command.offset,
            command.type,
            to_json(command.data).decode(),
            committed[command.partition],
        )
        if row is None:
            raise LookupError("the function answers every command")
        return write(command, row["first_sequence"], [(name, from_json(data)) for name, data in row["said"]])

    return decide_one


async def main(settings: Settings) -> None:
    """Decide until cancelled."""
    committed: dict[int, int] = {}
    async with asyncpg.create_pool(postgres_url(), min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        one_after_the_other = one_by_one(await decider(pool, committed))

        async def start(place: TopicPartition, offset: int) -> int:
            committed[place.partition] = offset
            return offset

        async def decide(partition: int, commands: Sequence[Command], send: Send) -> None:
            committed[partition] = commands[0].offset
            await one_after_the_other(partition, commands, send)

        await follow(settings, decide, start=start, most=BATCH_RECORDS)


if __name__ == "__main__":
    run(main)
