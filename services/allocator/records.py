"""Records in and out: a command or a reason why not, and the events and dead letters that answer them."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas.commands import Command
from schemas.events import Event
from schemas.wire import CONTENT_TYPE, UnreadableRecord, read_command, write_events
from services.record_batches import is_unread

Headers = Sequence[tuple[str, bytes | None]]


class CommandRecord(NamedTuple):
    """One record of the commands topic."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class OutRecord(NamedTuple):
    """One record to be published."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class EventPlace(NamedTuple):
    """What the events topic is ordered by: the offset of the command, then the number of its event."""

    offset: int
    n: int


NOWHERE = EventPlace(-1, -1)
_EVENT_HEADERS: Headers = (CONTENT_TYPE,)
_EVENT_ID = re.compile(rb'^\{"specversion":"1\.0","id":"(\d{1,19})-(\d{1,19})-(\d{1,19})"')
_OFFSET = re.compile(rb"\d{1,19}")


def read_record(record: CommandRecord, partition: int, partition_of: Callable[[bytes], int]) -> Command | str:
    """Read a record of one partition: its command, or the fault that makes it a dead letter (R1)."""
    try:
        command = read_command(record.key, record.value, record.timestamp_ms)
    except UnreadableRecord as fault:
        is_whole = not is_unread(record.key, record.value, record.headers)
        return str(fault) if is_whole else "its record batch is not read"
    if partition_of(record.key or b"") != partition:
        return "in another partition than its key's"
    return command


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
    partition: int, record: CommandRecord, command: Command, events: Sequence[Event], after: EventPlace
) -> list[OutRecord]:
    """Write the events of one command that stand behind `after`."""
    first = after.n + 1 if record.offset == after.offset else 0
    if record.offset < after.offset or first >= len(events):
        return []
    written = write_events(partition, record.offset, record.timestamp_ms, command, events, first=first)
    return [OutRecord(record.key, value, _EVENT_HEADERS) for value in written]


def event_place(value: bytes | None, partition: int) -> EventPlace | None:
    """Give where a record of the events topic belongs; None for one that the allocator did not write there."""
    found = _EVENT_ID.match(value or b"")
    if found is None or int(found[1]) != partition:
        return None
    return EventPlace(int(found[2]), int(found[3]))
