"""Reads the three topics of a running system for the audit, bounded by where they ended when it began."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from allocation_core.store import OtherVersion
from services.auditor.audit import Progress, audit
from services.auditor.loop import Loop, loop_in_a_thread
from services.auditor.processes import audit_beside
from services.auditor.records import Kind, Record
from services.auditor.redis import RedisSystem
from services.auditor.report import Report
from services.errors import OpdError
from services.kafka import kafka_client
from services.record_batches import read_any_batch
from services.settings import Settings
from services.snapshots.file import Snapshot, newest_snapshots
from services.topics import check_topics

_FETCH_BYTES = 4 * 1024 * 1024
_RECORDS = 5000
_POLL_MS = 200
_STALLED_S = 60
_WORTH_PROCESSES = 50_000  # commands: what is less is audited before other processes are up


class AuditError(OpdError):
    """The topics cannot be audited: why, and what to do."""


def audit_topics(  # noqa: PLR0913  each is a choice of whoever asks
    settings: Settings,
    *,
    wait_s: float = 30,
    limit: int = 10,
    redis: bool = False,
    snapshots: Path | None = None,
    processes: int | None = None,
    started: Callable[[int], None] = lambda _: None,
    progress: Progress | None = None,
) -> Report:
    """Audit the system that the settings name, as it stood at the call; it may go on meanwhile.

    Args:
        settings: where Kafka is and what the topics are called.
        wait_s: how long the decisions of commands that are there already may still take.
        limit: breaches shown for an invariant.
        redis: compare what Redis keeps too (I9).
        snapshots: a folder; the audit begins where the newest ones there end, not at the first command.
        processes: partitions audited at the same time; if left out, one of a short log, as many as there are
            processors of a long one.
        started: is told how many commands there are to audit.
        progress: is told now and then how many more commands were audited.

    Raises:
        TopicError: Kafka cannot be reached, or its topics do not fit.
        AuditError: the log does not reach back to its beginning, or Kafka or Redis failed.
    """
    begin = {} if snapshots is None else newest_snapshots(snapshots, settings.commands_topic)
    with _servers(settings) as (loop, cleanup):
        log = loop.run(KafkaLog.open(settings, loop, cleanup, wait_s, begin))
    started(log.commands)
    if processes is None:
        processes = 1 if log.commands < _WORTH_PROCESSES else os.cpu_count() or 1
    job = _Job(settings, log.ends, limit, wait_s if redis else None, begin)
    tell = progress or (lambda _: None)
    if min(processes, log.partitions) <= 1:
        return job.audit(range(log.partitions), tell)
    whole = Report(limit=limit)
    for report in audit_beside(job, range(log.partitions), processes, tell):
        whole.add(report)
    return whole


@dataclass(frozen=True)
class _Job:
    """What is audited, for whoever does it; `redis_wait_s` is None where Redis is left alone."""

    settings: Settings
    ends: "Ends"
    limit: int
    redis_wait_s: float | None
    begin: Mapping[int, Snapshot]

    def __call__(self, partition: int, progress: Progress) -> Report:
        return self.audit([partition], progress)

    def audit(self, partitions: Sequence[int], progress: Progress) -> Report:
        with _servers(self.settings) as (loop, cleanup):
            log = KafkaLog(self.settings, loop, cleanup, self.ends)
            wait_s = self.redis_wait_s
            stored = None if wait_s is None else RedisSystem(self.settings, loop, cleanup, wait_s)
            return audit(
                log,
                partitions=partitions,
                limit=self.limit,
                progress=progress,
                stored=stored,
                snapshots=self.begin,
            )


@contextmanager
def _servers(settings: Settings) -> Iterator[tuple[Loop, ExitStack]]:
    """Give a loop to ask Kafka and Redis on, and what ends with it; their failures become AuditErrors."""
    with loop_in_a_thread() as loop, ExitStack() as cleanup:
        try:
            yield loop, cleanup
        except KafkaError as error:
            servers = settings.kafka_bootstrap_servers
            raise AuditError(f"the Kafka at {servers} failed: {error!r}\ntry: again, or look into its log") from error
        except RedisError as error:
            text = f"Redis failed: {type(error).__name__} {error}\ntry: look whether OPD_REDIS_URL names one that runs"
            raise AuditError(text) from error
        except OtherVersion as error:
            raise AuditError(f"Redis cannot be compared: {error}\ntry: the version that the allocator has") from error


class Ends(NamedTuple):
    """Where the topics ended when the audit began.

    Attributes:
        partitions: how many each topic has.
        read_to: by topic and partition, where reading ends.
        commands: the ends of the commands once those of the other topics were known.
        letters_begin: by partition, the first offset that the dead-letter topic still holds.
        deadline: on this machine's monotonic clock; until then decisions of commands before their end are waited for.
    """

    partitions: int
    read_to: dict[TopicPartition, int]
    commands: dict[TopicPartition, int]
    letters_begin: dict[int, int]
    deadline: float


class KafkaLog:
    """The topics as they stood when this was opened.

    Attributes:
        ends: where they ended; with them the same may be opened elsewhere.
    """

    def __init__(self, settings: Settings, loop: Loop, cleanup: ExitStack, ends: Ends) -> None:
        self.ends = ends
        self._settings, self._loop, self._cleanup = settings, loop, cleanup
        self._topics = {
            Kind.COMMANDS: settings.commands_topic,
            Kind.EVENTS: settings.events_topic,
            Kind.DEAD_LETTERS: settings.dead_letters_topic,
        }

    @classmethod
    async def open(
        cls, settings: Settings, loop: Loop, cleanup: ExitStack, wait_s: float, begin: Mapping[int, Snapshot]
    ) -> Self:
        """Take note of where the topics end: the commands first, so that what they caused is looked for behind."""
        topics = await check_topics(settings, timeout_s=max(1.0, wait_s))
        log = cls(settings, loop, cleanup, Ends(topics[0].partitions, {}, {}, {}, time.monotonic() + wait_s))
        consumer = await log._connect()
        try:
            commands = log._partitions_of(Kind.COMMANDS)
            events, letters = log._partitions_of(Kind.EVENTS), log._partitions_of(Kind.DEAD_LETTERS)
            beginnings = await consumer.beginning_offsets([*commands, *events])
            covered = {where: begin[where.partition].header.applied for where in commands if where.partition in begin}
            _refuse_a_trimmed_log(beginnings, covered)
            begin_letters = await consumer.beginning_offsets(letters)
            log.ends.letters_begin.update({where.partition: offset for where, offset in begin_letters.items()})
            log.ends.read_to.update(await consumer.end_offsets(commands))
            log.ends.read_to.update(await consumer.end_offsets([*events, *letters]))
            log.ends.commands.update(await consumer.end_offsets(commands))
        finally:
            await consumer.stop()
        return log

    @property
    def partitions(self) -> int:
        """How many partitions each of the topics has."""
        return self.ends.partitions

    @property
    def commands(self) -> int:
        """How many offsets there are to audit; about as many commands."""
        return sum(self.ends.read_to[where] for where in self._partitions_of(Kind.COMMANDS))

    def read(self, kind: Kind, partition: int) -> "KafkaReader":
        """Begin to read a partition of a topic."""
        where = TopicPartition(self._topics[kind], partition)
        consumer = self._loop.run(self._read_from_the_beginning(where))
        reader = KafkaReader(consumer, where, self.ends.read_to[where], self.ends.deadline, self._loop)
        self._cleanup.callback(reader.close)
        return reader

    def commands_end(self, partition: int) -> int:
        """Give the offset below which commands stood once the ends of the other topics were known."""
        return self.ends.commands[TopicPartition(self._settings.commands_topic, partition)]

    def letters_begin(self, partition: int) -> int:
        """Give the first offset that the dead-letter topic still holds: what stood before has expired."""
        return self.ends.letters_begin[partition]

    async def _read_from_the_beginning(self, where: TopicPartition) -> AIOKafkaConsumer:
        consumer = await self._connect()
        consumer.assign([where])
        await consumer.seek_to_beginning(where)
        return consumer

    async def _connect(self) -> AIOKafkaConsumer:
        """Give a consumer that belongs to no group."""
        read_any_batch()
        consumer = AIOKafkaConsumer(
            **kafka_client(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
        try:
            await consumer.start()
        except KafkaError:
            await consumer.stop()
            raise
        return consumer

    def _partitions_of(self, kind: Kind) -> list[TopicPartition]:
        return [TopicPartition(self._topics[kind], number) for number in range(self.partitions)]


class KafkaReader:
    """Reads one partition, a fetch at a time."""

    def __init__(
        self, consumer: AIOKafkaConsumer, where: TopicPartition, end: int, deadline: float, loop: Loop
    ) -> None:
        self._consumer, self._where, self._end = consumer, where, end
        self._deadline, self._loop = deadline, loop
        self._position = 0
        self._fetched: deque[Record] = deque()

    def next(self, *, wait: bool = False) -> Record | None:
        """Give the next record; with `wait` also one that came after the audit's start, until the log's deadline."""
        if not self._fetched and self._position < self._end:
            self._fetch()
        if not self._fetched and wait:
            self._fetch_later_ones()
        if not self._fetched or (self._fetched[0].offset >= self._end and not wait):
            return None
        return self._fetched.popleft()

    def close(self) -> None:
        """Let go of the connection."""
        self._loop.run(self._consumer.stop())

    def _fetch(self) -> None:
        stalled_at = time.monotonic() + _STALLED_S
        while not self._fetched and self._position < self._end:
            self._loop.run(self._poll())
            if not self._fetched and time.monotonic() > stalled_at:
                text = f"nothing came from {self._where.topic}[{self._where.partition}]@{self._position}"
                raise AuditError(f"{text} for {_STALLED_S} s\ntry: look whether Kafka is well")

    def _fetch_later_ones(self) -> None:
        self._loop.run(self._poll())
        while not self._fetched and time.monotonic() < self._deadline:
            self._loop.run(self._poll())

    async def _poll(self) -> None:
        for records in (await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS)).values():
            self._fetched.extend(
                Record(
                    record.topic,
                    record.partition,
                    record.offset,
                    record.timestamp,
                    record.key,
                    record.value,
                    tuple(record.headers),
                )
                for record in records
            )
        self._position = await self._consumer.position(self._where)


def _refuse_a_trimmed_log(beginnings: dict[TopicPartition, int], covered: Mapping[TopicPartition, int]) -> None:
    trimmed = [
        f"{where.topic}[{where.partition}] begins at {offset}"
        for where, offset in beginnings.items()
        if offset > covered.get(where, 0)
    ]
    if trimmed:
        text = f"{', '.join(trimmed)}: without what came before nothing can be proven"
        raise AuditError(f"{text}\ntry: restore the whole log, or begin with --snapshot")
