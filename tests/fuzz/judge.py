"""What must become of a round's records, in one process: read as the oracle reads, decided by both twins alike."""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from redis import Redis

from allocation_core.model import Model
from schemas.commands import Command
from schemas.events import Event, read_event
from schemas.follow import Follower
from schemas.wire import command_key, rfc3339, write_event
from services.allocator.records import dead_letter, dead_letter_source, read_batch, read_record
from tests.core.commands import as_model
from tests.core.engines import StoreEngine, in_batches
from tests.fuzz.generator import Fuzzed, partition_of
from tests.schemas.oracle import is_readable
from tests.schemas.records import CANARY

TOPIC = "opd.commands.v1"


class _Consumed(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def is_readable_there(record: Fuzzed) -> bool:
    """R1 by the oracle, with the partition."""
    if record.partition != partition_of(record.key or b""):
        return False
    return is_readable(record.key, record.value, record.timestamp_ms)


def judge(records: Sequence[Fuzzed], redis_url: str) -> Counter[str]:
    """Read and decide a round; give how often what came to pass.

    Raises:
        AssertionError: something wrong was read or decided.
    """
    tally: Counter[str] = Counter()
    commands: list[tuple[Command, int]] = []
    for offset, record in enumerate(records):
        command = _judge_record(offset, record)
        tally[f"{'readable' if command else 'unreadable'}: {record.kind}"] += 1
        if command:
            commands.append((command, record.timestamp_ms))
    tally.update(_judge_decisions(commands, redis_url))
    return tally


def _judge_record(offset: int, record: Fuzzed) -> Command | None:
    headers = [(name.decode(errors="replace"), value) for name, value in record.headers]
    consumed = _Consumed(offset, record.timestamp_ms, record.key, record.value, headers)
    read = read_record(consumed, record.partition, partition_of)
    assert isinstance(read, str) is not is_readable_there(record), f"the oracle says otherwise of {record!r}: {read!r}"
    quickly, faults = read_batch([consumed], record.partition, partition_of)
    if not isinstance(read, str):
        assert [as_model(each.command) for each in quickly] == [read], f"read otherwise by the quick reader: {record!r}"
        return read
    assert (quickly, faults) == ([], {offset: read})
    letter = dead_letter(consumed, read, TOPIC, record.partition)
    assert (letter.key, letter.value, list(letter.headers)[:-4]) == (record.key, record.value, headers)
    assert dead_letter_source(letter.headers) == offset
    assert read.isascii()
    assert read.isprintable()
    assert 0 < len(read) <= 1000
    assert CANARY not in read
    return None


def _judge_decisions(commands: Sequence[tuple[Command, int]], redis_url: str) -> Counter[str]:
    tally: Counter[str] = Counter()
    model = Model()
    follower = Follower()
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    with StoreEngine(redis_url) as store:
        offset = 0
        for batch in in_batches(commands, Random(len(commands))):
            for (command, timestamp_ms), stored in zip(batch, store.decide_batch(batch), strict=True):
                events = model.decide(command, timestamp_ms)
                assert stored == events, f"the twins differ at {command.type} {command.id}: {stored} {events}"
                _judge_events(command, timestamp_ms, events, offset, follower)
                tally.update(map(_name_of, events))
                offset += 1
    return tally


def _name_of(event: Event) -> str:
    return f"event: {event.type}" + (f" {event.data['reason']}" if event.type == "CommandRejected" else "")


def _judge_events(
    command: Command, timestamp_ms: int, events: Sequence[Event], offset: int, follower: Follower
) -> None:
    """Each event is of the contract, and the next of its department."""
    assert events, f"nothing was said of {command.id}"
    for n, event in enumerate(events):
        value = write_event(
            event_id=f"0-{offset}-{n}",
            event_type=event.type,
            time=rfc3339(timestamp_ms),
            sequence=event.sequence,
            command=command,
            data=event.data,
        )
        assert follower.take(command_key(command), value) == read_event(value)
