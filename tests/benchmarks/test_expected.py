from collections import Counter

import pytest
from pydantic_core import from_json

from benchmarks.expected import Disagreement, compare, expected_events
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
        ({0: [b"a", b"c"], 1: []}, r"event 1 of partition 0 is\n  c\nand not\n  b"),
        ({0: [b"a"], 1: []}, r"1 events in partition 0 and not 2; the first missing:\n  b"),
        ({0: [b"a", b"b"], 1: [b"x"]}, r"1 events in partition 1 and not 0; the first too many:\n  x"),
    ],
)
def test_who_says_something_else_is_named_with_the_first_difference(said: dict[int, list[bytes]], fault: str) -> None:
    expected = {0: [b"a", b"b"], 1: list[bytes]()}
    compare("we", expected, expected)
    with pytest.raises(Disagreement, match=f"we: {fault}"):
        compare("we", said, expected)
