"""One run of the benchmark: its servers, its commands, and who runs on them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from rich.console import Console

from benchmarks import contenders
from benchmarks.contender import Contender, Unavailable
from benchmarks.expected import expected_events
from benchmarks.kafka import (
    COMMANDS_CONFIG,
    DEAD_LETTERS_CONFIG,
    EVENTS_CONFIG,
    Marks,
    create_topics,
    delete_topics,
    preload,
    read,
)
from benchmarks.peers.postgres import URL, empty
from benchmarks.workload import Sent, workload
from services.allocator.kafka import partitioner
from services.settings import Settings
from services.stack import PostgresServer, Stack
from services.stack.process import Process
from services.stack.system import environment

POLL_S = 0.1  # looking more often would take what is measured
STALLED_AFTER_S = 90


@dataclass(frozen=True)
class Options:
    """What was asked for.

    Attributes:
        commands: how many a drain has.
        runs: of each drain; the medians count.
        partitions: of every topic.
        seconds: how long commands are sent where latency is measured.
        long_commands: how many the long drain has.
        contenders: who runs.
    """

    commands: int = 200_000
    runs: int = 3
    partitions: int = 4
    seconds: int = 10
    long_commands: int = 2_000_000
    contenders: tuple[Contender, ...] = contenders.CONTENDERS


@dataclass(frozen=True)
class Workload:
    """Commands that stand in a topic, and what must be said of them.

    Attributes:
        topic: which nobody writes to any more.
        commands: how many.
        values: theirs, by partition.
        events: what the model says of them, by partition.
    """

    topic: str
    commands: int
    values: dict[int, list[bytes]]
    events: dict[int, list[bytes]]

    def expected_of(self, contender: Contender) -> dict[int, list[bytes]]:
        """Give what somebody must append to the events topic."""
        return self.values if contender.moves else self.events


class Running:
    """A contender at work.

    Attributes:
        settings: where it works; the topic of its events is its own.
        process: its process.
        marks: how far it is.
        start: starts its process anew.
    """

    def __init__(
        self, settings: Settings, process: Process, marks: Marks, servers: Mapping[str, int], start: Callable[[], None]
    ) -> None:
        self.settings = settings
        self.process = process
        self.marks = marks
        self.start = start
        self._servers = servers

    @property
    def parts(self) -> dict[str, int]:
        """The processes whose use of the processor counts."""
        return {"client": self.process.pid, **self._servers}

    def kill_and_start(self) -> float:
        """SIGKILL it, start it again at once, and give when it was dead, as `time.time` has it."""
        self.process.kill()
        dead_at = time.time()
        self.start()
        return dead_at

    def check(self) -> None:
        """Raise RuntimeError where its process has ended; the text has the last lines of its log."""
        if not self.process.running:
            raise RuntimeError("\n".join([f"{self.process.name} ended", *self.process.last_log_lines()]))

    async def until(self, holds: Callable[[int, int], bool], *, poll_s: float = POLL_S) -> int:
        """Wait until it holds of the numbers of events appended and commands committed; give the former.

        Raises:
            RuntimeError: it ended, or does nothing any more; the text ends with the last lines of its log.
        """
        before, moved_at = (-1, -1), time.monotonic()
        while True:
            so_far = await self.marks.events(), await self.marks.commands()
            if holds(*so_far):
                return so_far[0]
            if so_far != before:
                before, moved_at = so_far, time.monotonic()
            self.check()
            if time.monotonic() - moved_at > STALLED_AFTER_S:
                stalled = f"{self.process.name} said {so_far[0]} events of {so_far[1]} commands, and then nothing more"
                raise RuntimeError("\n".join([stalled, *self.process.last_log_lines()]))
            await asyncio.sleep(poll_s)


class Bench:
    """The servers, between `with` and its end.

    Attributes:
        options: what was asked for.
        folder: what a run leaves behind; it is gone with it.
        stack: Kafka and Redis.
        peaks: decisions a second of the last drain, by contender.
        left_out: why somebody is not there, by title.
    """

    def __init__(self, options: Options, folder: Path) -> None:
        self.options = options
        self.stack = Stack(folder / "stack")
        self.folder = folder
        self._cleanup = ExitStack()
        self._console = Console(stderr=True, highlight=False)
        self._labels: dict[str, int] = {}
        self.peaks: dict[str, int] = {}
        self.left_out: dict[str, str] = {}
        self._workloads: dict[int, Workload] = {}

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            cleanup.enter_context(self.stack)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleanup.close()

    @cached_property
    def postgres(self) -> PostgresServer:
        """A PostgreSQL, started when it is first asked for."""
        server = PostgresServer(self.folder)
        self._cleanup.callback(server.stop)
        server.start()
        return server

    def say(self, text: str) -> None:
        """Tell how far the benchmark is."""
        self._console.print(text, soft_wrap=True)

    def command_of(self, contender: Contender) -> Sequence[str | Path] | None:
        """Give what runs it; None where this machine cannot: then `left_out` says why."""
        if contender.title in self.left_out:
            return None
        try:
            return contender.command(self.folder)
        except Unavailable as error:
            self.left_out[contender.title] = str(error)
            self.say(f"{contender.title} is left out: {error}")
            return None

    def settings(self, label: str, commands_topic: str | None = None) -> Settings:
        """Give settings with topics and a group of their own, but for the commands topic that is given."""
        number = self._labels[label] = self._labels.get(label, 0) + 1
        name = f"{label}.{number}"
        return Settings(
            kafka_bootstrap_servers=self.stack.kafka,
            redis_url=self.stack.redis,
            commands_topic=commands_topic or f"{name}.commands",
            events_topic=f"{name}.events",
            dead_letters_topic=f"{name}.dead-letters",
            consumer_group=name,
            log_level="warning",
        )

    async def workload(self, commands: int) -> Workload:
        """Give a topic of so many commands, and the model's events."""
        found = self._workloads.get(commands)
        if found is None:
            self.say(f"preloading {commands:,} commands, and asking the model about them")
            topic = f"commands.{commands}"
            settings = self.settings("preload")
            await create_topics(settings, {topic: COMMANDS_CONFIG}, self.options.partitions)
            sent = list(workload(commands))
            await preload(settings, topic, sent)
            values = self.expected_of(contenders.PASSTHROUGH, sent)
            found = Workload(topic, commands, values, expected_events(sent, self.options.partitions))
            self._workloads[commands] = found
        return found

    async def make_topics(self, settings: Settings) -> None:
        """Create the topics of the answers, and the one of the commands where it is this settings' own."""
        configs = {settings.events_topic: EVENTS_CONFIG, settings.dead_letters_topic: DEAD_LETTERS_CONFIG}
        if settings.commands_topic.startswith(settings.consumer_group):
            configs[settings.commands_topic] = COMMANDS_CONFIG
        await create_topics(settings, configs, self.options.partitions)

    def expected_of(self, contender: Contender, sent: Sequence[Sent]) -> dict[int, list[bytes]]:
        """Give what somebody must append to the events topic for commands that fill a topic."""
        if not contender.moves:
            return expected_events(sent, self.options.partitions)
        partition_of = partitioner(self.options.partitions)
        values: dict[int, list[bytes]] = {number: [] for number in range(self.options.partitions)}
        for each in sent:
            values[partition_of(each.key)].append(each.value)
        return values

    async def said(self, running: Running) -> dict[int, list[bytes]]:
        """Give the events that somebody has said, by partition."""
        appended = await read(running.settings, running.settings.events_topic, self.options.partitions)
        return {partition: [record.value for record in records] for partition, records in appended.items()}

    @asynccontextmanager
    async def running(
        self, contender: Contender, command: Sequence[str | Path], settings: Settings
    ) -> AsyncIterator[Running]:
        """Run a contender on an empty store, until the end of `with`; its answers are deleted then."""
        await self.make_topics(settings)
        servers = {"kafka": self.stack.pids["kafka"]}
        extra = {"BENCH_STATE_FOLDER": str(self.folder / settings.consumer_group)}
        if contender.store == "redis":
            with Redis.from_url(self.stack.redis) as redis:
                redis.flushall()
            servers["redis"] = self.stack.pids["redis"]
        elif contender.store == "postgres":
            await empty(self.postgres.url)
            servers["postgres"] = self.postgres.process.pid
            extra[URL] = self.postgres.url
        process = Process(contender.title, self.folder / f"{settings.consumer_group}.log")
        start = partial(process.start, command, environment(settings) | extra)
        start()
        try:
            async with Marks(settings) as marks:
                yield Running(settings, process, marks, servers, start)
        finally:
            process.stop()
            await delete_topics(settings, [settings.events_topic, settings.dead_letters_topic])
