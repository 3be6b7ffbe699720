"""From the commands topic to the events topic, batch by batch: the loop that the peers in Python share."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.peers.records import Command, read
from services.settings import Settings, read_settings

BATCH_RECORDS = 2_000
BATCH_BYTES = 900_000
# As ours: who is killed is missed after the same time.
SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_INTERVAL_MS = 300

Answer = list[bytes]
Send = Callable[[Sequence[tuple[Command, Answer]]], Awaitable[None]]
DecideBatch = Callable[[int, Sequence[Command], Send], Awaitable[None]]
Start = Callable[[TopicPartition, int], Awaitable[int]]


async def from_committed(_: TopicPartition, committed: int) -> int:
    """Begin where the group's committed offset is."""
    return committed


def run(main: Callable[[Settings], Awaitable[None]]) -> None:
    """Run a peer until SIGTERM."""

    async def until_told() -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine that runs is one
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await main(read_settings())

    with suppress(asyncio.CancelledError):
        uvloop.run(until_told())


async def follow(
    settings: Settings, decide: DecideBatch, *, start: Start = from_committed, most: int = BATCH_RECORDS
) -> None:
    """Have every batch of a partition decided, then commit its offset; what was not committed is decided again."""
    async with (
        AIOKafkaConsumer(
            settings.commands_topic,
            bootstrap_servers=settings.kafka_bootstrap_servers,
            group_id=settings.consumer_group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
        ) as consumer,
        AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
        ) as producer,
    ):

        async def send(answers: Sequence[tuple[Command, Answer]]) -> None:
            await _send(producer, settings.events_topic, answers)

        while not consumer.assignment():
            await consumer.getmany(timeout_ms=10)
        for place in consumer.assignment():
            consumer.seek(place, await start(place, await consumer.committed(place) or 0))
        while True:
            for place, records in (await consumer.getmany(timeout_ms=1_000, max_records=most)).items():
                commands = [
                    read(place.partition, each.offset, each.timestamp, each.key, each.value) for each in records
                ]
                await decide(place.partition, commands, send)
                await consumer.commit({place: records[-1].offset + 1})


def one_by_one(decide_one: Callable[[Command], Awaitable[Answer]]) -> DecideBatch:
    """Decide commands one by one, those of a department in order, departments side by side."""

    async def decide(_: int, commands: Sequence[Command], send: Send) -> None:
        by_key: dict[bytes, list[Command]] = {}
        for command in commands:
            by_key.setdefault(command.key, []).append(command)
        answers: dict[int, Answer] = {}

        async def one_department(own: Sequence[Command]) -> None:
            for command in own:
                answers[command.offset] = await decide_one(command)

        async with asyncio.TaskGroup() as group:
            for own in by_key.values():
                group.create_task(one_department(own))
        await send([(command, answers[command.offset]) for command in commands])

    return decide


async def _send(producer: AIOKafkaProducer, topic: str, answers: Sequence[tuple[Command, Answer]]) -> None:
    """Append events in order; acknowledged on return."""
    if not answers:
        return
    partition = answers[0][0].partition
    sends = []
    batch = producer.create_batch()
    for command, values in answers:
        for value in values:
            if batch.append(key=command.key, value=value, timestamp=None) is None:
                sends.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=command.key, value=value, timestamp=None)
    sends.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*sends)
