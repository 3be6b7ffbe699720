"""Where an allocator's processor time goes, stage by stage, without a Kafka: `python -m benchmarks.stages`.

The stages are the allocator's own functions, called batch by batch as an owner calls them, with a real Redis behind
them. Sockets to Kafka and the clients' tasks are not in it. A stage's figure is that of its fastest batch: on a machine
that others use too, all else is noise. Redis' processor time, the mean of all batches, is told apart by its own clock.
"""

import argparse
import asyncio
import gc
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import uvloop
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from allocation_core.digests import content_digest, sender_digest
from allocation_core.store import SlotStore, pack_commands
from benchmarks.processes import cpu_s
from benchmarks.workload import TIMESTAMP_MS, workload
from services.allocator.kafka import partitioner
from services.allocator.records import NOWHERE, CommandRecord, event_records, read_batch
from services.bare_records import take_bare_records
from services.record_batches import read_any_batch
from services.redis import connect_redis
from services.stack import ValkeyServer

PLACE = TopicPartition("commands", 0)
FIRST = 1_000  # registrations, and pools that are still empty, are not what a day is made of
ROOM = 16 * 1024 * 1024


class Stages:
    """What a command took, in microseconds.

    Attributes:
        least_us: by stage, in the fastest batch; a stage that begins with a space is a part of the one before.
        redis_us: of Redis in all, and by its commands.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.least_us: dict[str, float] = {}
        self.redis_us: dict[str, float] = {}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Measure one batch's stage."""
        began = time.thread_time_ns()
        yield
        took_us = (time.thread_time_ns() - began) / 1000 / self.batch
        self.least_us[stage] = min(took_us, self.least_us.get(stage, took_us))


def main() -> None:
    """Measure, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--commands", type=int, default=30_000)
    arguments.add_argument("--batch", type=int, default=500, help="commands a batch")
    arguments.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = arguments.parse_args()
    read_any_batch()
    take_bare_records()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as the allocator's process does
    with tempfile.TemporaryDirectory(prefix="opd-stages-") as folder:
        server = ValkeyServer(Path(folder))
        server.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                stages = runner.run(run(server, options.commands, options.batch))
        finally:
            server.stop()
    if options.json:
        print(json.dumps({"stages": stages.least_us, "redis": stages.redis_us}))
        return
    for stage, took_us in stages.least_us.items():
        print(f"{took_us:6.2f} µs  {stage}")
    print(f"{whole_us(stages.least_us):6.2f} µs  a command")
    for name, took_us in stages.redis_us.items():
        print(f"{took_us:6.2f} µs  Redis: {name}")


def whole_us(stages: Mapping[str, float]) -> float:
    """Give what all stages take together."""
    return sum(took_us for stage, took_us in stages.items() if not stage.startswith(" "))


async def run(server: ValkeyServer, count: int, batch: int) -> Stages:
    """Decide a workload."""
    stages, parts = Stages(batch), {"redis": server.process.pid}
    measured, used_s = 0, cpu_s(parts)["redis"]
    redis = connect_redis(server.url)
    store = SlotStore(redis, PLACE.partition)
    await store.fence(1)
    partition_of = partitioner(1)
    for first, fetched in fetched_batches(count, batch):
        with stages.of("fetch: take record batches apart"):
            records = take_apart(fetched, first)
        with stages.of("read: JSON to commands"):
            commands, faults = read_batch(records, PLACE.partition, partition_of)
        with stages.of("script: pack, ask Redis"):
            events = await store.decide(
                commands, generation=1, expected=first - 1, committed=first, last=first + batch - 1, digest=b""
            )
        with stages.of("  of which: pack"):
            pack_commands(commands)
        with stages.of("    of which: digests"):
            for each in commands:
                sender_digest(each.command)
                content_digest(each.command)
        with stages.of("outcomes: words to events"):
            len(events)
        with stages.of("write: events to JSON"):
            out = event_records(PLACE.partition, commands, [events[each.offset] for each in commands], NOWHERE)
        with stages.of("send: put record batches together"):
            builder = BatchBuilder(ROOM, 0)
            for record in out:
                builder.append(key=record.key, value=record.value, timestamp=TIMESTAMP_MS, headers=record.headers)
            builder._build()  # noqa: SLF001  as aiokafka does when it sends
        if faults or builder.record_count() < batch:
            raise RuntimeError("not every command was answered")
        measured += batch
        if first < FIRST:
            stages.least_us.clear()
            await redis.execute_command("CONFIG", "RESETSTAT")
            measured, used_s = 0, cpu_s(parts)["redis"]
    whole_us = (cpu_s(parts)["redis"] - used_s) / measured * 1e6
    statistics = await redis.info("commandstats")
    await redis.aclose()
    stages.redis_us = _by_command(whole_us, {name: figures["usec"] for name, figures in statistics.items()})
    return stages


def _by_command(whole_us: float, usec: Mapping[str, int]) -> dict[str, float]:
    """Share out what Redis used in all: the script's time by Redis' clock has that of what it calls in it."""
    clocked = usec["cmdstat_evalsha"]
    shares = {name.removeprefix("cmdstat_"): took / clocked for name, took in usec.items() if took > clocked / 1000}
    called = sum(share for name, share in shares.items() if name != "evalsha")
    rest = {"the script itself, and all around it": 1 - called}
    return {"in all": whole_us} | {
        f"  {name}": whole_us * share for name, share in (rest | shares).items() if name != "evalsha"
    }


def take_apart(fetched: bytes, first: int) -> list[CommandRecord]:
    """Read a record batch as the consumer does."""
    records = fetcher.MemoryRecords(fetched)
    return list(fetcher.PartitionRecords(PLACE, records, [], first, None, None, check_crcs=True, isolation_level=0))


def fetched_batches(count: int, batch: int) -> Iterator[tuple[int, bytes]]:
    """Give record batches as a broker would, with the offset that each begins with."""
    commands = list(workload(count))
    for first in range(0, count - batch + 1, batch):
        builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, ROOM)
        for n, (key, value, timestamp_ms) in enumerate(commands[first : first + batch]):
            builder.append(n, timestamp_ms, key, value, [])
        yield first, first.to_bytes(8, "big") + bytes(builder.build())[8:]


if __name__ == "__main__":
    main()
