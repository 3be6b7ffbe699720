"""How long a preloaded commands topic takes: to move its bytes alone, and to decide it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.expected import compare
from schemas import topics as contract
from services.settings import Settings
from services.stack.system import environment

BATCH_BYTES = 900_000
LINGER_MS = 5
POLL_S = 0.02
STALLED_AFTER_S = 60
_CLOCK_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Drain:
    """One measured drain.

    Attributes:
        records: commands drained.
        seconds: from the first record out to the last.
        cpu_us: processor time a record, by process, in microseconds; empty where the system does not tell.
    """

    records: int
    seconds: float
    cpu_us: dict[str, float]

    @property
    def per_second(self) -> float:
        """Commands a second."""
        return self.records / self.seconds


async def create_topics(settings: Settings, partitions: int) -> None:
    """Create the three topics; the commands keep their senders' timestamps, lest a run depend on its day (R3)."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        commands = {**contract.COMMANDS.config, "message.timestamp.type": "CreateTime"}
        await admin.create_topics(
            [
                NewTopic(settings.commands_topic, partitions, 1, topic_configs=commands),
                NewTopic(settings.events_topic, partitions, 1, topic_configs=contract.EVENTS.config),
                NewTopic(settings.dead_letters_topic, partitions, 1, topic_configs=contract.DEAD_LETTERS.config),
            ]
        )
    finally:
        await admin.close()


async def preload(settings: Settings, records: Iterable[tuple[bytes, bytes]], timestamp_ms: int) -> int:
    """Fill the commands topic; give how many records it has now."""
    count = 0
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        max_batch_size=BATCH_BYTES,
        linger_ms=LINGER_MS,
        enable_idempotence=True,
    ) as producer:
        sends: list[asyncio.Future[object]] = []
        for key, value in records:
            sends.append(await producer.send(settings.commands_topic, value, key=key, timestamp_ms=timestamp_ms))
            count += 1
            if len(sends) == 10_000:
                await asyncio.gather(*sends)
                sends.clear()
        await asyncio.gather(*sends)
    return count


async def passthrough(settings: Settings, target: str, records: int, pids: dict[str, int]) -> Drain:
    """Move the commands topic into another one, record by record and nothing else: `getmany` to `send_batch`."""
    before = _cpu_s(pids | {"client": os.getpid()})
    async with (
        AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest") as consumer,
        AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap_servers, max_batch_size=BATCH_BYTES, enable_idempotence=True
        ) as producer,
    ):
        places = await _partitions(consumer, settings.commands_topic)
        consumer.assign(places)
        moved, began = 0, time.perf_counter()
        while moved < records:
            sends = []
            for place, batch in (await consumer.getmany(timeout_ms=200)).items():
                builder = producer.create_batch()
                for record in batch:
                    if builder.append(key=record.key, value=record.value, timestamp=None) is None:
                        sends.append(await producer.send_batch(builder, target, partition=place.partition))
                        builder = producer.create_batch()
                        builder.append(key=record.key, value=record.value, timestamp=None)
                moved += len(batch)
                sends.append(await producer.send_batch(builder, target, partition=place.partition))
            await asyncio.gather(*sends)
        seconds = time.perf_counter() - began
    return Drain(records, seconds, _cpu_us(before, pids | {"client": os.getpid()}, records))


async def decide(
    settings: Settings, records: int, expected: Mapping[int, Sequence[bytes]], log: Path, pids: dict[str, int]
) -> Drain:
    """Let one allocator decide the commands topic, and measure from its first answer to its last.

    Args:
        settings: where it is.
        records: how many commands there are.
        expected: the events that they must cause, by partition.
        log: where the allocator's log goes.
        pids: whose processor time counts besides the allocator's.

    Raises:
        Disagreement: it said something else.
    """
    events = sum(map(len, expected.values()))
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.cli",
            "allocator",
            "--http-port",
            "0",
            env={**os.environ, **environment(settings)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        async with AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            group_id=settings.consumer_group,
            enable_auto_commit=False,
        ) as consumer:
            everyone = pids | {"allocator": process.pid}
            early = await _until(settings, consumer, process, log, lambda said, _: said > 0)
            before, began = _cpu_s(everyone), time.perf_counter()
            said = await _until(
                settings, consumer, process, log, lambda said, committed: events == said or committed == records
            )
            seconds = time.perf_counter() - began
            measured = round(records * (said - early) / said)
            cpu_us = _cpu_us(before, everyone, measured)
        compare("allocator", await _read(settings, settings.events_topic), expected)
        return Drain(measured, seconds, cpu_us)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _until(
    settings: Settings,
    consumer: AIOKafkaConsumer,
    process: asyncio.subprocess.Process,
    log: Path,
    holds: Callable[[int, int], bool],
) -> int:
    """Wait until it holds of the numbers of events said and commands committed; give the former."""
    commands = await _partitions(consumer, settings.commands_topic)
    events = await _partitions(consumer, settings.events_topic)
    before, moved_at = (-1, -1), time.monotonic()
    while True:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(events)
        committed = sum([await consumer.committed(place) or 0 for place in commands])
        so_far = sum(ends.values()), committed
        if holds(*so_far):
            return so_far[0]
        if so_far != before:
            before, moved_at = so_far, time.monotonic()
        if process.returncode is not None:
            raise RuntimeError(f"the allocator ended, see {log}")
        if time.monotonic() - moved_at > STALLED_AFTER_S:
            raise TimeoutError(f"{so_far} events and commands, and no more for {STALLED_AFTER_S} s: see {log}")
        await asyncio.sleep(POLL_S)


async def _read(settings: Settings, topic: str) -> dict[int, list[bytes]]:
    """Give the values of a topic by partition, up to where it ends now."""
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest"
    ) as consumer:
        places = await _partitions(consumer, topic)
        values: dict[int, list[bytes]] = {place.partition: [] for place in places}
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        consumer.assign(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                values[place.partition] += [record.value for record in records]
    return values


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    await consumer._client._wait_on_metadata(topic)  # noqa: SLF001  a consumer knows no topic that it is not assigned
    return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]


def _cpu_s(pids: Mapping[str, int]) -> dict[str, float]:
    """Give the processor time of processes so far; nothing where there is no /proc."""
    used = {}
    for name, pid in pids.items():
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists():
            fields = stat.read_text().rpartition(")")[2].split()
            used[name] = (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS_A_SECOND
    return used


def _cpu_us(before: Mapping[str, float], pids: Mapping[str, int], records: int) -> dict[str, float]:
    after = _cpu_s(pids)
    return {name: (after[name] - used) / records * 1e6 for name, used in before.items() if name in after}
