"""An engine and its three topics in memory: the pure model between lists."""

from collections import defaultdict
from dataclasses import dataclass, field

from aiokafka.partitioner import murmur2

from allocation_core.model import Model
from schemas.commands import Command
from schemas.wire import CONTENT_TYPE, UnreadableRecord, read_command, rfc3339, write_event
from services.auditor.records import Kind, Record

TOPICS = {Kind.COMMANDS: "opd.commands.v1", Kind.EVENTS: "opd.events.v1", Kind.DEAD_LETTERS: "opd.dead-letters.v1"}
NOON_MS = 1_795_435_200_000  # 2026-11-23T12:00:00Z, a Monday
Headers = tuple[tuple[str, bytes | None], ...]


class MemoryReader:
    def __init__(self, records: list[Record]) -> None:
        self._records = iter(list(records))

    def next(self, *, wait: bool = False) -> Record | None:
        del wait
        return next(self._records, None)

    def close(self) -> None:
        pass


@dataclass
class MemoryEngine:
    """Decides each record as it comes; `topics` may be tampered with before it is audited.

    Attributes:
        expired: how many dead letters a partition that holds none has had.
    """

    partitions: int = 2
    timestamp_ms: int = NOON_MS
    model: Model = field(default_factory=Model)
    topics: defaultdict[tuple[Kind, int], list[Record]] = field(default_factory=lambda: defaultdict(list))
    expired: int = 0

    def read(self, kind: Kind, partition: int) -> MemoryReader:
        return MemoryReader(self.topics[kind, partition])

    def letters_begin(self, partition: int) -> int:
        return min((record.offset for record in self.topics[Kind.DEAD_LETTERS, partition]), default=self.expired)

    def commands_end(self, partition: int) -> int:
        return len(self.topics[Kind.COMMANDS, partition])

    def partition_of(self, key: bytes) -> int:
        return int((murmur2(key) & 0x7FFFFFFF) % self.partitions)

    def append(self, kind: Kind, partition: int, key: bytes | None, value: bytes | None, headers: Headers) -> Record:
        topic = self.topics[kind, partition]
        record = Record(TOPICS[kind], partition, len(topic), self.timestamp_ms, key, value, headers)
        topic.append(record)
        return record

    def _read(self, record: Record) -> Command:
        command = read_command(record.key, record.value, self.timestamp_ms)
        if record.partition != self.partition_of(record.key or b""):
            raise UnreadableRecord("not in its key's partition")
        return command

    def take(
        self, key: bytes | None, value: bytes | None, *, partition: int | None = None, headers: Headers = ()
    ) -> tuple[Record, list[Record]]:
        """Append a record to the commands and decide it; give it and what it caused."""
        partition = self.partition_of(key or b"") if partition is None else partition
        record = self.append(Kind.COMMANDS, partition, key, value, headers)
        try:
            command = self._read(record)
        except UnreadableRecord as error:
            added = (
                ("opd-error", str(error).encode()),
                ("opd-source-topic", record.topic.encode()),
                ("opd-source-partition", str(partition).encode()),
                ("opd-source-offset", str(record.offset).encode()),
            )
            return record, [self.append(Kind.DEAD_LETTERS, partition, key, value, headers + added)]
        events = []
        for n, event in enumerate(self.model.decide(command, self.timestamp_ms)):
            written = write_event(
                event_id=f"{partition}-{record.offset}-{n}",
                event_type=event.type,
                time=rfc3339(self.timestamp_ms),
                sequence=event.sequence,
                command=command,
                data=event.data,
            )
            events.append(self.append(Kind.EVENTS, partition, key, written, (CONTENT_TYPE,)))
        return record, events
