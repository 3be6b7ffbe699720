"""R1: which records are commands, and what is said of those that are none."""

import json
import traceback
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import wire
from schemas.commands import Command, RequestToken, SetSlotCapacity
from schemas.wire import UnreadableRecord, read_command
from schemas.words import LAST_TIMESTAMP_MS, MAX_RECORD_BYTES
from tests.schemas.oracle import is_readable
from tests.schemas.records import CANARY, DATA, KEY, a_command, a_record

SET_CAPACITY = (
    '{{{before}"specversion":"1.0","id":"c1","source":"desk","type":"opd.SetSlotCapacity.v1",'
    '"data":{{"facility_id":"blr1","department_id":"cardiology","doctor_id":"dr-rao","date":"2026-11-23",'
    '"slot":"09:00-10:00","capacity":{capacity}}}{after}}}'
)


def record(*, before: str = "", capacity: str = "12", after: str = "") -> bytes:
    return SET_CAPACITY.format(before=before, capacity=capacity, after=after).encode("utf-8", "surrogatepass")


def read(value: bytes | None, key: bytes | None = KEY, timestamp_ms: int = 0) -> Command | UnreadableRecord:
    try:
        return read_command(key, value, timestamp_ms)
    except UnreadableRecord as fault:
        return fault


def read_carefully(value: bytes, key: bytes | None = KEY) -> Command | UnreadableRecord:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_needs_a_second_look", lambda _: True)
        return read(value, key)


def agree(value: bytes) -> None:
    """The one look, the second look and the oracle come to one verdict; what is told of a fault tells no value."""
    readable = is_readable(KEY, value, 0)
    one_look, two_looks = read(value), read_carefully(value)
    for verdict in (one_look, two_looks):
        assert (not isinstance(verdict, UnreadableRecord)) == readable, verdict
        if isinstance(verdict, UnreadableRecord):
            fit_for_a_header(verdict)
        else:
            assert verdict == one_look


def fit_for_a_header(fault: UnreadableRecord) -> None:
    text = str(fault)
    assert text.isascii()
    assert text.isprintable()
    assert 0 < len(text) <= 1000
    assert CANARY not in "".join(traceback.format_exception(fault, limit=0)).lower()


def test_twenty_thousand_records_are_judged_as_the_oracle_judges_them() -> None:
    for seed in range(20_000):
        value = a_record(Random(seed))
        try:
            agree(value)
        except AssertionError as fault:
            fault.add_note(f"seed {seed}: {value!r}")
            raise


@settings(max_examples=500, deadline=None)
@given(st.randoms(use_true_random=False))
def test_odd_records_are_judged_as_the_oracle_judges_them(rng: Random) -> None:
    agree(a_record(rng))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60))
def test_raw_bytes_are_judged_as_the_oracle_judges_them(value: bytes) -> None:
    agree(value)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=8), st.integers(0, 400), st.integers(0, 8))
def test_spoiled_bytes_are_judged_as_the_oracle_judges_them(spoil: bytes, at: int, gone: int) -> None:
    value = json.dumps(a_command(Random(at))).encode()
    agree(value[:at] + spoil + value[at + gone :])


def test_the_generator_makes_records_of_every_kind() -> None:
    verdicts = [read(a_record(Random(seed))) for seed in range(3000)]
    assert {type(verdict).__name__ for verdict in verdicts} >= {*DATA, "UnreadableRecord"}
    assert 0.3 < sum(isinstance(verdict, UnreadableRecord) for verdict in verdicts) / len(verdicts) < 0.8


@pytest.mark.parametrize("name", DATA)
def test_every_command_is_read(name: str) -> None:
    rng = Random(1)
    while (command := a_command(rng))["type"] != f"opd.{name}.v1":
        pass
    read_one = read(json.dumps(command).encode())
    assert type(read_one).__name__ == name


@pytest.mark.parametrize(
    "ignored",
    [
        "1e999",
        "-1e999",
        "-0",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808.0",
        "1" * 9000 + ".5",
        "1" * 9000 + "e1",
        "[" * 31 + "]" * 31,
        '{"a":' * 31 + "1" + "}" * 31,
        r'"\ud83d\ude00"',
        r'"\\u0000"',
        '"NaN Infinity 99999999999999999999"',
        '"' + "[{" * 50 + '"',
        '"\x7f"',
        '"\ufeff"',
        '"\ufffe"',
    ],
)
def test_what_an_ignored_attribute_may_hold(ignored: str) -> None:
    assert isinstance(read(record(before=f'"x":{ignored},')), SetSlotCapacity)
    assert isinstance(read(record(before=f'"id":{ignored},')), SetSlotCapacity), "of a name given twice the last counts"


@pytest.mark.parametrize(
    ("forbidden", "fault"),
    [
        ("NaN", "NaN is not JSON"),
        ("Infinity", "Infinity is not JSON"),
        ("-Infinity", "-Infinity is not JSON"),
        ("9223372036854775808", "integer beyond 64 bits"),
        ("-9223372036854775809", "integer beyond 64 bits"),
        ("1" * 9000, "integer beyond 64 bits"),
        ("[" * 32 + "]" * 32, "nested over 32"),
        ('{"a":' * 32 + "1" + "}" * 32, "nested over 32"),
        ("[" + "[]," * 40 + "[" * 31 + "]" * 32, "nested over 32"),
        ("[" * 16_000, "nested over 32"),
        ('{"a":' * 3000, "nested over 32"),
        (r'"\u0000"', "U+0000 or a lone surrogate in a text"),
        (r'{"\u0000":1}', "U+0000 or a lone surrogate in a text"),
        (r'[["\u0000"]]', "U+0000 or a lone surrogate in a text"),
        (r'"\ud83d"', "not JSON"),
        (r'{"\ude00\ud83d":1}', "not JSON"),
        (r'"\ud83d \u0000"', "U+0000 or a lone surrogate in a text"),
        ('"\ud83d"', "not JSON"),
        ("01", "not JSON"),
        ("'a'", "not JSON"),
        ('"\0"', "not JSON"),
        ('"\n"', "not JSON"),
    ],
)
def test_what_nothing_in_a_record_may_hold(forbidden: str, fault: str) -> None:
    for value in (
        record(before=f'"x":{forbidden},'),
        record(before=f'"x":[{{"y":{forbidden}}}],'),
        record(before=f'"x":{forbidden},"x":1,'),
        record(after=f',"data":{forbidden}'),
        record(capacity=f'{forbidden},"capacity":12'),
    ):
        assert isinstance(read(value), UnreadableRecord)
    assert str(read(record(before=f'"x":{forbidden},'))) == fault


@pytest.mark.parametrize("start", ["\ufeff", "\0", "x", "[", "{"])
def test_nothing_stands_around_the_object(start: str) -> None:
    assert str(read(start.encode() + record())) == "not JSON"
    assert str(read(record() + start.encode())) == "not JSON"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_no_other_encoding_is_read(encoding: str) -> None:
    assert str(read(record().decode().encode(encoding))) == "not JSON"


def test_text_that_is_not_utf_8_is_refused_at_either_look() -> None:
    assert str(read(record(before='"x":"\xe9",').decode().encode("latin-1"))) == "not JSON"
    assert str(read(record(before='"x":"NaN\xe9",').decode().encode("latin-1"))) == "not UTF-8"


@pytest.mark.parametrize("value", [b"", b" ", b"null", b"3", b'"a"', b"[]", b"[{}]"])
def test_a_record_is_an_object(value: bytes) -> None:
    assert isinstance(read(value), UnreadableRecord)


@pytest.mark.parametrize("capacity", ['"3"', "true", "2.5", "3.0", "1e2", "null", "-1", "501", "[]", "NaN"])
def test_no_capacity(capacity: str) -> None:
    assert isinstance(read(record(capacity=capacity)), UnreadableRecord)


@pytest.mark.parametrize(("capacity", "seats"), [("0", 0), ("-0", 0), ("500", 500), ('"x","capacity":7', 7)])
def test_a_capacity(capacity: str, seats: int) -> None:
    command = read(record(capacity=capacity))
    assert isinstance(command, SetSlotCapacity)
    assert command.data.capacity == seats


@pytest.mark.parametrize(
    ("before", "readable"),
    [
        ('"data":{"canary":1},', True),
        ('"data":3,', True),
        ('"type":"opd.Canary.v1",', True),
        ('"type":"opd.CloseSlot.v1",', True),
        ('"specversion":"0.3",', True),
        (r'"\u0074ype":7,', True),
    ],
)
def test_of_a_name_given_twice_the_last_counts(before: str, readable: bool) -> None:
    first = read(record(before=before))
    last = read(record(after="," + before.removesuffix(",")))
    assert isinstance(first, SetSlotCapacity) is readable
    assert isinstance(last, UnreadableRecord)


def test_an_optional_field_is_left_out_not_null() -> None:
    for name in ("time", "traceparent", "correlationid"):
        assert str(read(record(before=f'"{name}":null,'))) == f"opd.SetSlotCapacity.v1.{name}: string_type"
        assert isinstance(read(record(before=f'"{name}":"x",')), SetSlotCapacity)


def test_the_last_size_and_the_first_too_large() -> None:
    filling = "x" * (MAX_RECORD_BYTES - len(record(before='"x":"",')))
    assert isinstance(read(record(before=f'"x":"{filling}",')), SetSlotCapacity)
    assert str(read(record(before=f'"x":"{filling}x",'))) == "over 16384 bytes"


def test_a_record_without_a_value() -> None:
    assert str(read(None)) == "no value"


@pytest.mark.parametrize("timestamp_ms", [0, LAST_TIMESTAMP_MS])
def test_the_first_and_the_last_timestamp(timestamp_ms: int) -> None:
    assert isinstance(read(record(), timestamp_ms=timestamp_ms), SetSlotCapacity)


@pytest.mark.parametrize("timestamp_ms", [-1, LAST_TIMESTAMP_MS + 1])
def test_timestamps_that_no_calendar_has(timestamp_ms: int) -> None:
    assert str(read(record(), timestamp_ms=timestamp_ms)) == "timestamp before 1970 or after 9999"


@pytest.mark.parametrize("key", [None, b"", b"blr1", b"blr1/cardiology ", b"cardiology/blr1", b"blr1/cardiolog\xff"])
def test_a_key_that_does_not_match_data(key: bytes | None) -> None:
    assert str(read(record(), key)) == "key does not match data"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda command: command.pop("id"), "opd.RequestToken.v1.id: missing"),
        (lambda command: command.update(id="x" * 65), "opd.RequestToken.v1.id: string_too_long"),
        (lambda command: command.update(type="canary"), "record: union_tag_invalid"),
        (lambda command: command.pop("type"), "record: union_tag_not_found"),
        (lambda command: command["data"].update(canary=1), "opd.RequestToken.v1.data.*: extra_forbidden"),
        (lambda command: command["data"].update(source="canary"), "opd.RequestToken.v1.data.source: enum"),
        (lambda command: command["data"].update(slot="10:00-09:00"), "opd.RequestToken.v1.data.slot: value_error"),
        (
            lambda command: command["data"].update(slot="canary", date="canary"),
            "; ".join(f"opd.RequestToken.v1.data.{name}: string_pattern_mismatch" for name in ("date", "slot")),
        ),
    ],
)
def test_a_fault_is_told_in_names_of_the_schema(change: Callable[[dict[str, Any]], Any], fault: str) -> None:
    command = {
        "specversion": "1.0",
        "id": CANARY,
        "source": CANARY,
        "type": "opd.RequestToken.v1",
        "data": {
            "facility_id": "blr1",
            "department_id": "cardiology",
            "date": "2026-11-23",
            "slot": "09:00-10:00",
            "patient_id": CANARY,
            "source": "ONLINE",
        },
    }
    assert isinstance(read(json.dumps(command).encode()), RequestToken)
    change(command)
    verdict = read(json.dumps(command).encode())
    assert str(verdict) == fault


def test_a_record_full_of_faults_is_told_in_few_words() -> None:
    many = ",".join(f'"{CANARY}{number}":1' for number in range(900))
    verdict = read(f'{{"type":"opd.RegisterDoctor.v1","data":{{{many}}}}}'.encode())
    assert isinstance(verdict, UnreadableRecord)
    fit_for_a_header(verdict)
    assert str(verdict).count(";") == 7


def test_a_list_is_read_up_to_its_first_fault() -> None:
    ones = ",".join(["1"] * 8000)
    verdict = read(f'{{"type":"opd.RegisterDoctor.v1","data":{{"schedule":[{ones}]}}}}'.encode())
    assert str(verdict).count("schedule") == 1
