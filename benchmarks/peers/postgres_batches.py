"""PostgreSQL, written in batches: what a batch changed goes into one transaction with the partition's offset.

The process that has a partition decides on its own copy of the rows. Events are acknowledged before the transaction is
committed, so what a crash interrupts is decided again, alike, and said again. As the offset stands beside the rows, a
commit need not wait for the disk.
"""

import json
from collections.abc import Sequence

import asyncpg
from aiokafka import TopicPartition
from asyncpg.pool import PoolConnectionProxy

from benchmarks.peers.desk import Desk, Token
from benchmarks.peers.loop import Send, follow, run
from benchmarks.peers.postgres import postgres_url
from benchmarks.peers.records import Command, write
from services.settings import Settings

TABLES = """
CREATE TABLE IF NOT EXISTS progress (partition int PRIMARY KEY, next_offset bigint NOT NULL);
CREATE TABLE IF NOT EXISTS department (
    key text PRIMARY KEY, partition int NOT NULL, sequence bigint NOT NULL, schedules jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS token (
    key text, date text, token_no int, slot text NOT NULL, arrival bigint NOT NULL, patient_id text NOT NULL,
    source text NOT NULL, status text NOT NULL, doctor_id text, times_preempted int NOT NULL,
    PRIMARY KEY (key, date, token_no));
"""
MOVE_ON = """
INSERT INTO progress VALUES ($1, $3) ON CONFLICT (partition)
DO UPDATE SET next_offset = excluded.next_offset WHERE progress.next_offset = $2 RETURNING partition
"""
WRITE_DEPARTMENTS = """
INSERT INTO department SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::jsonb[])
ON CONFLICT (key) DO UPDATE SET sequence = excluded.sequence, schedules = excluded.schedules
"""
WRITE_TOKENS = """
INSERT INTO token SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::bigint[], $6::text[],
    $7::text[], $8::text[], $9::text[], $10::int[])
ON CONFLICT (key, date, token_no) DO UPDATE SET
    status = excluded.status, doctor_id = excluded.doctor_id, times_preempted = excluded.times_preempted
"""


class Superseded(Exception):  # noqa: N818  it is what happened
    """Another process moved the partition on."""


async def main(settings: Settings) -> None:
    """Decide until cancelled."""
    no_wait = {"synchronous_commit": "off"}
    async with asyncpg.create_pool(postgres_url(), min_size=1, max_size=4, server_settings=no_wait) as pool:
        await pool.execute(TABLES)
        desks: dict[bytes, Desk] = {}
        next_offset: dict[int, int] = {}

        async def start(place: TopicPartition, _: int) -> int:
            desks.update(await load(pool, place.partition))
            row = await pool.fetchval("SELECT next_offset FROM progress WHERE partition = $1", place.partition)
            next_offset[place.partition] = row or 0
            return next_offset[place.partition]

        async def decide(partition: int, commands: Sequence[Command], send: Send) -> None:
            answers, touched = [], {}
            for command in commands:
                desk = desks.get(command.key)
                if desk is None:
                    desk = desks[command.key] = Desk(command.data["facility_id"], command.data["department_id"])
                touched[command.key] = desk
                said = desk.decide(command.type, command.data)
                answers.append((command, write(command, desk.sequence + 1, said)))
                desk.sequence += len(said)
            after = commands[-1].offset + 1
            async with pool.acquire() as connection, connection.transaction():
                if await connection.fetchval(MOVE_ON, partition, next_offset[partition], after) is None:
                    raise Superseded
                await store(connection, partition, touched)
                await send(answers)
            next_offset[partition] = after

        await follow(settings, decide, start=start)


async def store(connection: PoolConnectionProxy, partition: int, desks: dict[bytes, Desk]) -> None:
    """Write departments of a partition with the tokens that were touched."""
    departments = [(key.decode(), partition, each.sequence, json.dumps(each.schedules)) for key, each in desks.items()]
    await connection.execute(WRITE_DEPARTMENTS, *zip(*departments, strict=True))
    tokens = []
    for key, desk in desks.items():
        name = key.decode()
        tokens += [
            (
                name,
                t.date,
                t.token_no,
                t.slot,
                t.arrival,
                t.patient_id,
                t.source,
                t.status,
                t.doctor_id,
                t.times_preempted,
            )
            for t in desk.changed.values()
        ]
        desk.changed.clear()
    if tokens:
        await connection.execute(WRITE_TOKENS, *zip(*tokens, strict=True))


async def load(pool: asyncpg.Pool, partition: int) -> dict[bytes, Desk]:
    """Give the departments of a partition as they were committed."""
    desks: dict[bytes, Desk] = {}
    for key, sequence, schedules in await pool.fetch(
        "SELECT key, sequence, schedules FROM department WHERE partition = $1", partition
    ):
        desk = desks[key.encode()] = Desk(*key.split("/"))
        desk.sequence, desk.schedules = sequence, json.loads(schedules)
    for key, *columns in await pool.fetch(
        "SELECT token.* FROM token JOIN department USING (key) WHERE partition = $1 ORDER BY key, arrival", partition
    ):
        date, token_no, slot, arrival, patient_id, source, status, doctor_id, times_preempted = columns
        desk = desks[key.encode()]
        token = Token(date, slot, token_no, arrival, patient_id, source)
        token.status, token.doctor_id, token.times_preempted = status, doctor_id, times_preempted
        desk.arrivals, desk.token_nos[date] = arrival, max(token_no, desk.token_nos.get(date, 0))
        desk.put_back(token)
    return desks


if __name__ == "__main__":
    run(main)
