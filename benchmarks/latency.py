"""From a command that is sent to its event received, at rates that leave time."""

import asyncio
import gc
import math
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from benchmarks.bench import Bench, Running
from benchmarks.contender import Contender
from benchmarks.contenders import ONE_WORKER
from benchmarks.drains import peak_per_second
from benchmarks.expected import compare
from benchmarks.kafka import BATCH_BYTES, partitions_of, preload
from benchmarks.measurement import Figures, Measurement, Table
from benchmarks.plots import points
from benchmarks.workload import Sent, workload
from services.allocator.kafka import partitioner
from services.settings import Settings

STEADY_PER_S = 500
WARM_UP_S = 2.0
MOST_AT_ONCE = 1_000  # whatever is due: these fit into a batch
MOST_COMMANDS = 60_000  # of one row: at a high rate it takes less time
ANSWERED_WITHIN_S = 10.0  # once all is committed
BEFORE_COMMANDS = 5_000
BEFORE_REWRITES_COMMANDS = 100_000
REWRITE_EVERY_S = 0.5
_CAUSE = re.compile(rb'"(?:causation)?id":"web-(\d+)"')
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


@dataclass
class Traffic:
    """When commands went out and when they were first answered: seconds of one clock, by the command's number.

    Attributes:
        late_s: by how much they went out behind their time: a sender that starves measures itself.
    """

    sent: dict[int, float] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)
    late_s: list[float] = field(default_factory=list)

    def latencies_ms(self, from_s: float) -> list[float]:
        """Give the latencies of what went out from a moment on, the shortest first."""
        return sorted((self.answered[number] - at) * 1000 for number, at in self.sent.items() if at >= from_s)


async def measure(bench: Bench) -> Figures:
    """Measure everybody at one rate; us at shares of our peak too, and while Redis rewrites its file."""
    rows: list[Figures] = []
    for contender in bench.options.contenders:
        command = bench.command_of(contender)
        if command is None:
            continue
        row = _Row(bench, contender, command)
        rows.append(await row.at(STEADY_PER_S))
        if contender == ONE_WORKER:
            peak = await peak_per_second(bench, contender)
            rows.append(await row.at(peak // 5, "at a fifth of its peak"))
            rows.append(await row.at(peak // 2, "at half of its peak"))
            rows.append(await row.at(peak // 5, "at a fifth, Redis rewriting its file", rewrites=True))
    return {"rows": rows}


@dataclass(frozen=True)
class _Row:
    bench: Bench
    contender: Contender
    command: Sequence[str | Path]

    async def at(self, per_s: int, when: str = "", *, rewrites: bool = False) -> Figures:
        """Send commands at a rate to who has decided some before; give what their answers took."""
        bench, settings = self.bench, self.bench.settings(f"{self.contender.name}.latency")
        before = min(BEFORE_REWRITES_COMMANDS if rewrites else BEFORE_COMMANDS, bench.options.commands)
        live = min(round((WARM_UP_S + bench.options.seconds) * per_s), MOST_COMMANDS)
        sent, traffic = list(workload(before + live)), Traffic()
        numbered = list(enumerate(sent))[before:]
        async with bench.running(self.contender, self.command, settings) as running:
            await preload(settings, settings.commands_topic, sent[:before])
            await running.until(lambda _, committed: committed == before)
            with _collector_off():
                async with _receiving(running, traffic, live), _rewriting(bench, rewrites) as rewritten:
                    began_s = await _send(settings, bench.options.partitions, numbered, per_s, traffic)
                    await running.until(lambda _, committed: committed == len(sent))
            said = await bench.said(running)
            compare(self.contender.title, said, bench.expected_of(self.contender, sent))
        steady_from_s = began_s + min(WARM_UP_S, live / per_s / 2)
        took_ms = traffic.latencies_ms(steady_from_s)
        figures: Figures = {name: round(at_share(took_ms, share), 2) for name, share in PERCENTILES.items()}
        title = f"{self.contender.title}, {when}" if when else self.contender.title
        bench.say(f"{title}: {per_s:,} a second: p50 {figures['p50']:.1f} ms, p99 {figures['p99']:.1f} ms")
        late_ms = round(at_share(sorted(traffic.late_s), 0.99) * 1000, 2)
        return {"title": title, "per_s": per_s, **figures, "sender_late_p99": late_ms, "rewrites": rewritten.count}


@contextmanager
def _collector_off() -> Iterator[None]:
    """Keep Python's collector from pausing sender and receiver: its pauses would be taken for somebody's latency."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@asynccontextmanager
async def _receiving(running: Running, traffic: Traffic, commands: int) -> AsyncIterator[None]:
    """Receive events, and leave when so many commands are answered."""
    async with AIOKafkaConsumer(
        bootstrap_servers=running.settings.kafka_bootstrap_servers, isolation_level="read_committed"
    ) as consumer:
        places = await partitions_of(consumer, running.settings.events_topic)
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        for place in places:
            await consumer.position(place)
        receiving = asyncio.create_task(_receive(consumer, traffic, commands))
        try:
            yield
            with suppress(TimeoutError):  # then something was not said: the comparison tells what
                await asyncio.wait_for(receiving, ANSWERED_WITHIN_S)
        finally:
            receiving.cancel()


async def _receive(consumer: AIOKafkaConsumer, traffic: Traffic, commands: int) -> None:
    while len(traffic.answered) < commands:
        batches = await consumer.getmany(timeout_ms=1_000)
        now_s = time.perf_counter()
        for records in batches.values():
            for record in records:
                cause = _CAUSE.search(record.value)
                if cause is not None:
                    traffic.answered.setdefault(int(cause[1]), now_s)


async def _send(
    settings: Settings, partitions: int, commands: Sequence[tuple[int, Sent]], per_s: int, traffic: Traffic
) -> float:
    """Send numbered commands, each at its time; give when that began.

    What is due at the same time goes out as one batch a partition, by a producer a partition: one by one, it is the
    sender that is measured at 10,000 a second, and a producer waits for one answer before it asks again.
    """
    partition_of = partitioner(partitions)
    async with AsyncExitStack() as stack:
        producers = [
            await stack.enter_async_context(
                AIOKafkaProducer(
                    bootstrap_servers=settings.kafka_bootstrap_servers,
                    max_batch_size=BATCH_BYTES,
                    enable_idempotence=True,
                )
            )
            for _ in range(partitions)
        ]
        acknowledged = []
        began_s, at = time.perf_counter(), 0
        while at < len(commands):
            await asyncio.sleep(max(0.0, began_s + at / per_s - time.perf_counter()))
            now_s = time.perf_counter()
            due = min(int((now_s - began_s) * per_s) + 1, at + MOST_AT_ONCE)
            batches = [producer.create_batch() for producer in producers]
            for nth, (number, (key, value, timestamp_ms)) in enumerate(commands[at:due], start=at):
                batches[partition_of(key)].append(key=key, value=value, timestamp=timestamp_ms)
                traffic.sent[number] = now_s
                traffic.late_s.append(now_s - began_s - nth / per_s)
            for partition, (producer, batch) in enumerate(zip(producers, batches, strict=True)):
                if batch.record_count():
                    sending = await producer.send_batch(batch, settings.commands_topic, partition=partition)
                    acknowledged.append(sending)
            at = due
        await asyncio.gather(*acknowledged)
    return began_s


@dataclass
class _Rewritten:
    count: int = 0


@asynccontextmanager
async def _rewriting(bench: Bench, wanted: bool) -> AsyncIterator[_Rewritten]:
    """Have Redis rewrite its append-only file again and again, if wanted; count how often."""
    rewritten = _Rewritten()
    if not wanted:
        yield rewritten
        return
    async with Redis.from_url(bench.stack.redis) as redis, asyncio.TaskGroup() as group:
        rewriting = group.create_task(_rewrite(redis, rewritten))
        yield rewritten
        rewriting.cancel()


async def _rewrite(redis: Redis, rewritten: _Rewritten) -> None:
    while True:
        try:
            await redis.bgrewriteaof()
            rewritten.count += 1
        except ResponseError:  # one is under way
            pass
        await asyncio.sleep(REWRITE_EVERY_S)


def at_share(values: Sequence[float], share: float) -> float:
    """Give the value that this share of ordered values does not exceed."""
    return values[max(0, math.ceil(share * len(values)) - 1)]


def show(figures: Figures) -> list[Table]:
    """Give a row for each."""
    rows = [
        [row["title"], f"{row['per_s']:,}", *(f"{row[name]:.1f}" for name in [*PERCENTILES, "sender_late_p99"])]
        for row in figures["rows"]
    ]
    rewrites = sum(row["rewrites"] for row in figures["rows"])
    note = (
        "From the call that sends a command to its first event, received by a consumer of committed records. Sender "
        "and receiver share the cores with all the rest: the last column says by how much 99 % of the commands went "
        f"out late at most. Where Redis rewrote its file, it did so {rewrites} times."
    )
    columns = ("", "commands/s", *(f"{name} ms" for name in PERCENTILES), "sender late, p99 ms")
    return [Table("From a command to its event", columns, rows, note)]


def draw(figures: Figures, folder: Path) -> list[Path]:
    """Draw the percentiles of each."""
    names = [f"{row['title']}\n{row['per_s']:,}/s" for row in figures["rows"]]
    values = {name: [row[name] for row in figures["rows"]] for name in ("p50", "p99", "p99.9")}
    return [points(folder / "latency.svg", "ms from a command to its event", names, values)]


LATENCY = Measurement("latency", "from a command to its event, at rates that leave time", measure, show, draw)
