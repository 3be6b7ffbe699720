"""What the pure model says of a workload: who decides otherwise is wrong, and not fast."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from allocation_core.model import Model
from benchmarks.workload import TIMESTAMP_MS
from schemas.wire import read_command, write_events, written
from services.allocator.kafka import partitioner


class Disagreement(Exception):  # noqa: N818  it is what happened
    """Other events were said than the model's; the text shows the first one that differs."""


def expected_events(commands: Iterable[tuple[bytes, bytes]], partitions: int) -> dict[int, list[bytes]]:
    """Give the events of commands that fill a new topic of so many partitions, by partition, in order."""
    model, partition_of = Model(), partitioner(partitions)
    ends: dict[int, int] = defaultdict(int)
    events: dict[int, list[bytes]] = {partition: [] for partition in range(partitions)}
    for key, value in commands:
        partition = partition_of(key)
        command = read_command(key, value, TIMESTAMP_MS)
        decided = [written(event) for event in model.decide(command, TIMESTAMP_MS)]
        events[partition] += write_events(partition, ends[partition], TIMESTAMP_MS, command, decided)
        ends[partition] += 1
    return events


def compare(who: str, said: Mapping[int, Sequence[bytes]], expected: Mapping[int, Sequence[bytes]]) -> None:
    """Hold the events topic to the model.

    Raises:
        Disagreement: an event is another one, is missing, or is one too many.
    """
    for partition, wanted in expected.items():
        found = said[partition]
        for number, (one, other) in enumerate(zip(found, wanted, strict=False)):
            if one != other:
                where = f"event {number} of partition {partition}"
                raise Disagreement(f"{who}: {where} is\n  {one.decode()}\nand not\n  {other.decode()}")
        if len(found) != len(wanted):
            beyond = (found if len(found) > len(wanted) else wanted)[min(len(found), len(wanted))]
            raise Disagreement(
                f"{who}: {len(found)} events in partition {partition} and not {len(wanted)}; "
                f"the first {'too many' if len(found) > len(wanted) else 'missing'}:\n  {beyond.decode()}"
            )
