import asyncio
from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from benchmarks.expected import compare, expected_events
from benchmarks.peers import call_a_message, postgres_batches, postgres_rows
from benchmarks.peers.desk import Desk
from benchmarks.peers.postgres import empty
from benchmarks.peers.records import Command, read, write
from benchmarks.workload import Sent, workload
from services.allocator.kafka import partitioner
from services.redis import connect_redis
from tests.servers import Database

PARTITIONS = 2
DecideOne = Callable[[Command], Awaitable[list[bytes]]]


def commands_of(sent: Sequence[Sent]) -> list[Command]:
    """What the records are once they stand in a topic."""
    partition_of, ends = partitioner(PARTITIONS), [0] * PARTITIONS
    commands = []
    for key, value, timestamp_ms in sent:
        partition = partition_of(key)
        commands.append(read(partition, ends[partition], timestamp_ms, key, value))
        ends[partition] += 1
    return commands


def desk_of(desks: dict[bytes, Desk], command: Command) -> Desk:
    return desks.setdefault(command.key, Desk(command.data["facility_id"], command.data["department_id"]))


def decided_by(desks: dict[bytes, Desk], commands: Sequence[Command]) -> dict[int, list[bytes]]:
    said: dict[int, list[bytes]] = {0: [], 1: []}
    for command in commands:
        desk = desk_of(desks, command)
        events = desk.decide(command.type, command.data)
        said[command.partition] += write(command, desk.sequence + 1, events)
        desk.sequence += len(events)
    return said


def test_the_desk_says_what_the_model_says() -> None:
    sent = list(workload(5_000, departments=3))
    compare("the desk", decided_by({}, commands_of(sent)), expected_events(sent, PARTITIONS))


async def check_one_by_one(decide: DecideOne, sent: Sequence[Sent]) -> None:
    """It says what the model says; and the last command's answer again when it is asked again."""
    said: dict[int, list[bytes]] = {0: [], 1: []}
    for command in (commands := commands_of(sent)):
        said[command.partition] += await decide(command)
    compare("it", said, expected_events(sent, PARTITIONS))
    again = await decide(commands[-1])
    assert said[commands[-1].partition][-len(again) :] == again


def test_a_lua_call_a_message_says_what_the_model_says(redis_url: str) -> None:
    async def check() -> None:
        async with connect_redis(redis_url) as redis:
            decide = await call_a_message.decider(redis, {0: 0, 1: 0})
            await check_one_by_one(decide, list(workload(1_500, departments=1)))

    asyncio.run(check())


def test_row_locks_say_what_the_model_says(postgres_server: Database) -> None:
    async def check() -> None:
        await empty(postgres_server.url)
        async with asyncpg.create_pool(postgres_server.url, min_size=1, max_size=1) as pool:
            decide = await postgres_rows.decider(pool, {0: 0, 1: 0})
            await check_one_by_one(decide, list(workload(700, departments=1)))

    asyncio.run(check())


def test_what_batches_keep_is_what_a_successor_goes_on_from(postgres_server: Database) -> None:
    sent = list(workload(3_000, departments=2))
    commands, half = commands_of(sent), 1_500

    async def store_and_load(desks: dict[bytes, Desk]) -> dict[bytes, Desk]:
        await empty(postgres_server.url)
        async with asyncpg.create_pool(postgres_server.url, min_size=1, max_size=1) as pool:
            await pool.execute(postgres_batches.TABLES)
            for partition in range(PARTITIONS):
                own = {command.key for command in commands if command.partition == partition}
                async with pool.acquire() as connection:
                    await postgres_batches.store(connection, partition, {key: desks[key] for key in own})
            found = [await postgres_batches.load(pool, partition) for partition in range(PARTITIONS)]
            return found[0] | found[1]

    first: dict[bytes, Desk] = {}
    said = decided_by(first, commands[:half])
    rest = decided_by(asyncio.run(store_and_load(first)), commands[half:])
    whole: dict[int, list[bytes]] = {partition: said[partition] + rest[partition] for partition in said}
    compare("batches", whole, expected_events(sent, PARTITIONS))
