"""What the pure model says of a workload: who decides otherwise is wrong, and not fast."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import zip_longest
from typing import NamedTuple

from allocation_core.model import Model
from benchmarks.workload import Sent
from schemas.wire import read_command, write_events, written
from services.allocator.kafka import partitioner


class Disagreement(Exception):  # noqa: N818  it is what happened
    """Other events were said than the model's; the text shows the first one that differs."""


def model_events(commands: Iterable[Sent], partitions: int) -> Iterator[tuple[int, bytes]]:
    """Give the events of commands that fill a new topic of so many partitions: partitions, and values in order."""
    model, partition_of = Model(), partitioner(partitions)
    ends = dict.fromkeys(range(partitions), 0)
    for key, value, timestamp_ms in commands:
        partition = partition_of(key)
        command = read_command(key, value, timestamp_ms)
        events = [written(event) for event in model.decide(command, timestamp_ms)]
        for value_out in write_events(partition, ends[partition], timestamp_ms, command, events):
            yield partition, value_out
        ends[partition] += 1


def expected_events(commands: Iterable[Sent], partitions: int) -> dict[int, list[bytes]]:
    """Give all of them by partition."""
    events: dict[int, list[bytes]] = {partition: [] for partition in range(partitions)}
    for partition, value in model_events(commands, partitions):
        events[partition].append(value)
    return events


def compare(who: str, said: Mapping[int, Sequence[bytes]], expected: Mapping[int, Sequence[bytes]]) -> None:
    """Hold the events topic to the model.

    Raises:
        Disagreement: an event is another one, is missing, or is one too many.
    """
    for partition, wanted in expected.items():
        for number, (one, other) in enumerate(zip_longest(said[partition], wanted, fillvalue=b"no event")):
            if one != other:
                where = f"event {number} of {len(wanted)} in partition {partition}"
                raise Disagreement(f"{who}: {where} is\n  {one.decode()}\nand not\n  {other.decode()}")


class Difference(NamedTuple):
    """What an events topic has beside the model's events.

    Attributes:
        again: events that stand there once more.
        otherwise: events of the model that do not stand there.
    """

    again: int
    otherwise: int


def differences(said: Mapping[int, Sequence[bytes]], expected: Mapping[int, Sequence[bytes]]) -> Difference:
    """Count what differs, where something was killed and may have said things again."""
    again = otherwise = 0
    for partition, wanted in expected.items():
        found = set(said[partition])
        again += len(said[partition]) - len(found)
        otherwise += len(set(wanted) - found)
    return Difference(again, otherwise)


class Fingerprints:
    """The events of each partition as one digest: for a topic too long to be kept twice."""

    def __init__(self, partitions: int) -> None:
        self._digests = [blake2b(digest_size=16) for _ in range(partitions)]
        self.events = 0

    def add(self, partition: int, value: bytes) -> None:
        """Add a partition's next event."""
        self._digests[partition].update(b"%d %b" % (len(value), value))
        self.events += 1

    def read(self) -> list[str]:
        """Give the digest of each partition's events so far."""
        return [digest.hexdigest() for digest in self._digests]
