"""The helper for consumers: whatever §4 allows to stand in the topic, each event comes out once and in order."""

import copy
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.commands import CloseSlot
from schemas.events import AnyEvent, UnreadableEvent
from schemas.follow import Contradiction, Follower, Gap
from schemas.wire import read_command, rfc3339, write_event

DEPARTMENTS = ("cardiology", "ent", "orthopaedics")


class Told(NamedTuple):
    """A record of the events topic."""

    key: bytes
    value: bytes


def told(
    department: str, sequence: int, offset: int, n: int = 0, *, partition: int = 3, reason: str = "SLOT_CLOSED"
) -> Told:
    data = {"facility_id": "blr1", "department_id": department}
    command = {
        "specversion": "1.0",
        "id": f"c{offset}",
        "source": "desk",
        "type": "opd.CloseSlot.v1",
        "data": data | {"date": "2026-11-23", "slot": "09:00-10:00"},
    }
    key = f"blr1/{department}".encode()
    read = read_command(key, json.dumps(command).encode(), 0)
    assert isinstance(read, CloseSlot)
    value = write_event(
        event_id=f"{partition}-{offset}-{n}",
        event_type="CommandRejected",
        time=rfc3339(offset),
        sequence=sequence,
        command=read,
        data=data | {"command_type": "CloseSlot", "reason": reason},
    )
    return Told(key, value)


def a_partition(commands: Sequence[tuple[int, int]]) -> list[Told]:
    """Give what the engine says in one partition of commands that each cause so many events in a department."""
    sequences: dict[str, int] = defaultdict(int)
    said = []
    for offset, (department, events) in enumerate(commands):
        name = DEPARTMENTS[department]
        for n in range(events):
            sequences[name] += 1
            said.append(told(name, sequences[name], offset, n))
    return said


def ids(events: Sequence[AnyEvent | None]) -> list[str]:
    return [event.id for event in events if event is not None]


def places(records: Sequence[Told]) -> list[str]:
    return [json.loads(record.value)["id"] for record in records]


partitions = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=12).map(a_partition)


@st.composite
def topics(draw: st.DrawFn) -> tuple[list[Told], list[Told]]:
    """Give what was said, and a topic that it may stand in: first appearances in order, and old sends landing late."""
    said = draw(partitions)
    topic: list[Told] = []
    landed = 0
    while landed < len(said):
        appended = draw(st.integers(1, len(said) - landed))
        topic += said[landed : landed + appended]
        landed += appended
        for _ in range(draw(st.integers(0, 3))):
            begin = draw(st.integers(0, landed - 1))
            topic += said[begin : draw(st.integers(begin, landed))]
    return said, topic


@given(topics(), st.integers(0, 20))
def test_each_event_comes_once_and_in_order(topic: tuple[list[Told], list[Told]], remembered: int) -> None:
    said, records = topic
    follower = Follower(remembered=remembered)
    assert ids([follower.take(*record) for record in records]) == places(said)


@given(topics(), st.data())
def test_a_consumer_that_dies_anywhere_goes_on_from_what_it_kept(
    topic: tuple[list[Told], list[Told]], data: st.DataObject
) -> None:
    said, records = topic
    done: list[str] = []
    kept, offset = json.dumps(Follower().state()), 0
    for _ in range(4):
        follower = Follower(json.loads(kept))
        assert follower.state() == json.loads(kept)
        reached = data.draw(st.integers(offset, len(records)))
        done += ids([follower.take(*record) for record in records[offset:reached]])
        kept, offset = json.dumps(follower.state()), reached
    follower = Follower(json.loads(kept))
    # An older offset than the state's only brings repeats.
    done += ids([follower.take(*record) for record in records[data.draw(st.integers(0, offset)) :]])
    assert done == places(said)


@given(partitions.filter(lambda said: len(said) > 1), st.data())
def test_an_event_that_is_missing_is_told_and_can_be_done_without(said: list[Told], data: st.DataObject) -> None:
    missing = data.draw(st.integers(0, len(said) - 2))
    later = [n for n in range(missing + 1, len(said)) if said[n].key == said[missing].key]
    follower = Follower()
    for n, record in enumerate(said):
        if n == missing:
            continue
        if n not in later[:1]:
            assert follower.take(*record)
            continue
        before = copy.deepcopy(follower.state())
        with pytest.raises(Gap) as found:
            follower.take(*record)
        gap = found.value
        number = int(json.loads(said[missing].value)["sequence"])
        assert (gap.department, gap.expected, gap.found) == (record.key.decode(), number, number + 1)
        assert follower.state() == before
        follower.skip_to(gap)
        assert follower.take(*record)


@given(topics().filter(lambda topic: bool(topic[0])), st.data())
def test_a_record_that_says_other_than_before_is_told(
    topic: tuple[list[Told], list[Told]], data: st.DataObject
) -> None:
    said, records = topic
    follower = Follower()
    for record in records:
        follower.take(*record)
    before = follower.state()
    other = data.draw(st.sampled_from(said))
    forged = Told(other.key, other.value.replace(b"SLOT_CLOSED", b"SLOT_UNKNOWN"))
    with pytest.raises(Contradiction, match="stands again with other bytes"):
        follower.take(*forged)
    assert follower.state() == before
    assert follower.take(*other) is None


def test_what_cannot_follow_is_a_contradiction_though_its_bytes_are_forgotten() -> None:
    follower = Follower(remembered=0)
    for sequence in (1, 2, 3):
        follower.take(*told("ent", sequence, offset=sequence * 10))
    for sequence, offset, partition in ((4, 30, 3), (4, 5, 3), (4, 40, 2), (2, 31, 3)):
        with pytest.raises(Contradiction, match=f"^blr1/ent, sequence {sequence}: ") as found:
            follower.take(*told("ent", sequence, offset, partition=partition))
        assert (found.value.department, found.value.sequence) == ("blr1/ent", sequence)
    assert follower.take(*told("ent", 4, offset=31))


@pytest.mark.parametrize("came_since", [(2,), (2, 3), (2, 3, 4)])
def test_a_gap_that_was_closed_since_leads_nobody_back(came_since: tuple[int, ...]) -> None:
    follower = Follower()
    follower.take(*told("ent", 1, offset=10))
    with pytest.raises(Gap) as found:
        follower.take(*told("ent", 3, offset=30))
    for sequence in came_since:
        assert follower.take(*told("ent", sequence, offset=sequence * 10))
    before = follower.state()
    follower.skip_to(found.value)
    assert follower.state() == before
    assert follower.take(*told("ent", came_since[-1], offset=came_since[-1] * 10)) is None


def test_events_are_numbered_from_one() -> None:
    for follower in (Follower(), Follower(from_the_beginning=False)):
        with pytest.raises(Contradiction, match="numbered from 1"):
            follower.take(*told("ent", 0, offset=10))


def test_a_consumer_that_begins_in_the_middle_takes_what_comes_first() -> None:
    with pytest.raises(Gap, match="blr1/ent: expected sequence 1, found 7"):
        Follower().take(*told("ent", 7, offset=70))
    follower = Follower(from_the_beginning=False)
    assert follower.take(*told("ent", 7, offset=70))
    assert follower.take(*told("ent", 6, offset=60)) is None
    with pytest.raises(Gap, match="expected sequence 8, found 9"):
        follower.take(*told("ent", 9, offset=90))


def test_what_is_no_event_is_not_taken() -> None:
    follower = Follower()
    endless = told("ent", 1, 0).value.replace(b"3-0-0", b"3-0-" + b"9" * 5000)
    for key, value in (
        (b"blr1/ent", endless),
        (b"blr1/ent", None),
        (b"blr1/ent", b"{"),
        (b"blr1/other", told("ent", 1, 0).value),
        (None, b""),
    ):
        with pytest.raises(UnreadableEvent):
            follower.take(key, value)
    assert follower.take(*told("ent", 1, 0))


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"version": 2, "departments": {}},
        {"version": 1},
        {"version": 1, "departments": {"a/b": [1]}},
        {"version": 1, "departments": []},
        [],
    ],
)
def test_another_state_is_refused(state: Any) -> None:
    with pytest.raises(ValueError, match="not a follower's state"):
        Follower(state)


def test_its_memory_goes_by_departments_not_by_events() -> None:
    follower = Follower(remembered=10)
    for number in range(1, 2000):
        follower.take(*told("ent", number, offset=number))
    assert len(json.dumps(follower.state())) < 200
    assert list(follower._digests) == [("blr1/ent", number) for number in range(1990, 2000)]
