"""Records in and out: a command or a reason why not, and the events and dead letters that answer them."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from allocation_core.store import BatchedCommand
from schemas.commands import Command
from schemas.events import WrittenEvent
from schemas.plain import read_plain_command
from schemas.wire import CONTENT_TYPE, UnreadableRecord, command_key, read_command, write_events
from services.record_batches import is_unread

Headers = Sequence[tuple[str, bytes | None]]


class CommandRecord(Protocol):
    """One record of the commands topic, as aiokafka gives it."""

    @property
    def offset(self) -> int:
        """Where it stands."""

    @property
    def timestamp(self) -> int:
        """Kafka's, in milliseconds."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value."""

    @property
    def headers(self) -> Headers:
        """Its headers, in order."""


class OutRecord(Struct, frozen=True, gc=False):
    """One record to be published; aiokafka wants a list of headers."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class EventPlace(NamedTuple):
    """What the events topic is ordered by: the offset of the command, then the number of its event."""

    offset: int
    n: int


NOWHERE = EventPlace(-1, -1)
_EVENT_HEADERS: list[tuple[str, bytes | None]] = [CONTENT_TYPE]
_EVENT_ID = re.compile(rb'^\{"specversion":"1\.0","id":"(\d{1,19})-(\d{1,19})-(\d{1,19})"')
_OFFSET = re.compile(rb"\d{1,19}")


def read_record(record: CommandRecord, partition: int, partition_of: Callable[[bytes], int]) -> Command | str:
    """Read a record of one partition: its command, or the fault that makes it a dead letter (R1)."""
    try:
        command = read_command(record.key, record.value, record.timestamp)
    except UnreadableRecord as fault:
        is_whole = not is_unread(record.key, record.value, record.headers)
        return str(fault) if is_whole else "its record batch is not read"
    return command if partition_of(command_key(command)) == partition else "in another partition than its key's"


def read_batch(
    records: Sequence[CommandRecord], partition: int, partition_of: Callable[[bytes], int]
) -> tuple[list[BatchedCommand], dict[int, str]]:
    """Read records as `read_record` does, but plain ones quickly: the commands, and by offset what is wrong."""
    commands: list[BatchedCommand] = []
    faults: dict[int, str] = {}
    for record in records:
        key = record.key or b""
        plain = read_plain_command(key, record.value or b"", record.timestamp)
        if plain is not None and partition_of(key) == partition:
            commands.append(BatchedCommand(record.offset, record.timestamp, key, plain))
            continue
        read = read_record(record, partition, partition_of)
        if isinstance(read, str):
            faults[record.offset] = read
        else:
            commands.append(BatchedCommand(record.offset, record.timestamp, key, read))
    return commands, faults


def dead_letter(record: CommandRecord, fault: str, topic: str, partition: int) -> OutRecord:
    """Give an unreadable record as it goes to the dead-letter topic: byte for byte, with headers that say why (R1)."""
    headers = [
        *record.headers,
        ("opd-error", fault.encode()),
        ("opd-source-topic", topic.encode()),
        ("opd-source-partition", str(partition).encode()),
        ("opd-source-offset", str(record.offset).encode()),
    ]
    return OutRecord(record.key, record.value, headers)


def dead_letter_source(headers: Headers) -> int | None:
    """Give the offset that a dead letter came from; None where its headers name none."""
    named = dict(headers).get("opd-source-offset") or b""
    return int(named) if _OFFSET.fullmatch(named) else None


def event_records(
    partition: int,
    commands: Sequence[BatchedCommand],
    answers: Sequence[Sequence[WrittenEvent]],
    after: EventPlace,
) -> list[OutRecord]:
    """Write those of a batch's answers that stand behind `after`; one that no events are known of is passed over."""
    out: list[OutRecord] = []
    for each, said in zip(commands, answers, strict=True):
        first = after.n + 1 if each.offset == after.offset else 0
        if each.offset < after.offset or first >= len(said):
            continue
        for value in write_events(partition, each.offset, each.timestamp_ms, each.command, said, first=first):
            out.append(OutRecord(each.key, value, _EVENT_HEADERS))  # noqa: PERF401  most cause one: a list of it costs more
    return out


def event_place(value: bytes | None, partition: int) -> EventPlace | None:
    """Give where a record of the events topic belongs; None for one that the allocator did not write there."""
    found = _EVENT_ID.match(value or b"")
    if found is None or int(found[1]) != partition:
        return None
    return EventPlace(int(found[2]), int(found[3]))
