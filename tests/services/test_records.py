"""What goes in and out of the allocator's topics, record by record (R1, spec §4)."""

import json

import pytest
from msgspec import Struct

from allocation_core.store import BatchedCommand
from schemas.commands import Command
from schemas.events import Event
from schemas.wire import written
from services.allocator.records import (
    NOWHERE,
    EventPlace,
    dead_letter,
    dead_letter_source,
    event_place,
    event_records,
    read_batch,
    read_record,
)
from tests.services.desk import Record

NOON_MS = 1_795_435_200_000  # 2026-11-23T12:00:00Z
KEY = b"h/d"
VALUE = (
    b'{"specversion":"1.0","id":"c","source":"desk","type":"opd.CheckIn.v1",'
    b'"data":{"facility_id":"h","department_id":"d","token_id":"h.d.20261123.1"}}'
)
RECORD = Record(7, NOON_MS, KEY, VALUE, (("sender", b"x"),))
EVENTS = [
    written(Event("SlotClosed", sequence, {"facility_id": "h", "department_id": "d"})) for sequence in (41, 42, 43)
]


def in_partition(number: int, key: bytes = KEY) -> int:
    assert key in {KEY, b""}
    return number


def the_command() -> Command:
    command = read_record(RECORD, 3, lambda _: 3)
    assert not isinstance(command, str)
    return command


def test_a_command_is_read_in_its_key_s_partition_alone() -> None:
    assert the_command().id == "c"
    assert read_record(RECORD, 3, lambda key: in_partition(2, key)) == "in another partition than its key's"
    assert read_record(RECORD._replace(value=b"{"), 3, lambda key: in_partition(3, key)) == "not JSON"
    assert read_record(RECORD._replace(key=None), 3, lambda key: in_partition(3, key)) == "key does not match data"


def test_a_batch_is_read_as_its_records_are_and_plain_commands_quickly() -> None:
    records = [
        RECORD,
        RECORD._replace(offset=8, value=VALUE.replace(b'"id"', b'"note":1,"id"')),
        RECORD._replace(offset=9, key=None),
        RECORD._replace(offset=10, value=None),
        RECORD._replace(offset=11, key=b"h/e", value=VALUE.replace(b'"d"', b'"e"')),
    ]
    commands, faults = read_batch(records, 3, lambda key: 3 if key == KEY else 2)
    assert [(each.offset, each.timestamp_ms, each.key) for each in commands] == [(7, NOON_MS, KEY), (8, NOON_MS, KEY)]
    assert [(each.command.id, isinstance(each.command, Struct)) for each in commands] == [("c", True), ("c", False)]
    assert faults == {9: "key does not match data", 10: "no value", 11: "in another partition than its key's"}


def test_a_dead_letter_is_the_record_byte_for_byte_and_says_why() -> None:
    letter = dead_letter(RECORD, "not JSON", "commands", 3)
    assert (letter.key, letter.value) == (KEY, VALUE)
    assert list(letter.headers) == [
        ("sender", b"x"),
        ("opd-error", b"not JSON"),
        ("opd-source-topic", b"commands"),
        ("opd-source-partition", b"3"),
        ("opd-source-offset", b"7"),
    ]
    assert dead_letter_source(letter.headers) == 7


@pytest.mark.parametrize("value", [None, b"", b"x", b"-1", b"7x", b" 7", "\u0667".encode(), b"1" * 20])
def test_a_header_that_names_no_offset_names_none(value: bytes | None) -> None:
    assert dead_letter_source([("opd-source-offset", value)]) is None
    assert dead_letter_source([("opd-source-offset", b"5"), ("opd-source-offset", value)]) is None, "the last counts"


def test_of_headers_without_an_offset_there_is_none() -> None:
    assert dead_letter_source([("sender", b"7")]) is None


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (NOWHERE, [0, 1, 2]),
        (EventPlace(6, 9), [0, 1, 2]),
        (EventPlace(7, 0), [1, 2]),
        (EventPlace(7, 1), [2]),
        (EventPlace(7, 2), []),
        (EventPlace(7, 9), []),
        (EventPlace(8, 0), []),
    ],
)
def test_the_events_behind_the_published_mark_are_written_and_no_others(after: EventPlace, said: list[int]) -> None:
    records = event_records(3, [BatchedCommand(7, NOON_MS, KEY, the_command())], [EVENTS], after)
    assert [event_place(record.value, 3) for record in records] == [EventPlace(7, n) for n in said]
    assert [json.loads(record.value or b"")["sequence"] for record in records] == [f"{41 + n:016d}" for n in said]
    assert all(record.key == KEY for record in records)
    assert all(record.headers == [("content-type", b"application/cloudevents+json")] for record in records)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{}",
        b'{"specversion":"1.0","id":"4-7-0"}',
        b'{"specversion":"1.0","id":"3-7"}',
        b'{"specversion":"1.0","id":"3-7-x"}',
        b' {"specversion":"1.0","id":"3-7-0"}',
    ],
)
def test_a_record_that_the_allocator_did_not_write_there_has_no_place(value: bytes | None) -> None:
    assert event_place(value, 3) is None
