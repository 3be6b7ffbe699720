from collections import Counter

import pytest
from pydantic_core import from_json

from benchmarks.expected import Difference, Disagreement, Fingerprints, compare, differences, expected_events
from benchmarks.workload import workload


def test_the_workload_is_mostly_granted_or_made_to_wait_under_the_timestamps_that_it_is_sent_with() -> None:
    events = expected_events(workload(10_000), partitions=4)
    types = Counter(from_json(value)["type"].split(".")[1] for own in events.values() for value in own)
    assert all(len(own) > 1_000 for own in events.values())
    assert types["TokenConfirmed"] + types["TokenWaitlisted"] > 6_500
    assert types["TokenCancelled"] > 1_000
    assert types["CommandRejected"] < 1_000


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({0: [b"a", b"c"], 1: []}, r"event 1 of 2 in partition 0 is\n  c\nand not\n  b"),
        ({0: [b"a"], 1: []}, r"event 1 of 2 in partition 0 is\n  no event\nand not\n  b"),
        ({0: [b"a", b"b"], 1: [b"x"]}, r"event 0 of 0 in partition 1 is\n  x\nand not\n  no event"),
    ],
)
def test_who_says_something_else_is_named_with_the_first_difference(said: dict[int, list[bytes]], fault: str) -> None:
    expected = {0: [b"a", b"b"], 1: list[bytes]()}
    compare("we", expected, expected)
    with pytest.raises(Disagreement, match=f"we: {fault}"):
        compare("we", said, expected)


def test_what_was_said_again_and_what_was_not_said_is_counted() -> None:
    said = {0: [b"a", b"b", b"b", b"x"], 1: [b"d", b"d", b"d"]}
    assert differences(said, {0: [b"a", b"b", b"c"], 1: [b"d"]}) == Difference(again=3, otherwise=1)


def test_fingerprints_tell_order_and_partition() -> None:
    def of(*events: tuple[int, bytes]) -> tuple[str, ...]:
        prints = Fingerprints(2)
        for partition, value in events:
            prints.add(partition, value)
        return tuple(prints.read())

    assert of((0, b"a"), (1, b"x"), (0, b"b")) == of((0, b"a"), (0, b"b"), (1, b"x"))
    assert len({of((0, b"a"), (0, b"b")), of((0, b"b"), (0, b"a")), of((0, b"ab")), of((1, b"ab"))}) == 4
