"""The quick reader is sound: what it gives, the contract's reader gives too, with the same values."""

import json
from random import Random
from typing import Any

import pytest

from schemas import plain
from schemas.commands import Command
from schemas.plain import Known, read_plain_command
from schemas.wire import UnreadableRecord, read_command
from schemas.words import LAST_TIMESTAMP_MS, MAX_RECORD_BYTES
from tests.core.commands import as_model
from tests.schemas.records import DATA, FRAGMENTS, KEY, Writer, a_record, spoil

ALL_TEXTS = {name for name in DATA if name not in {"RegisterDoctor", "SetSlotCapacity", "SetDoctorAvailability"}}
WORDS = [fragment for fragment in FRAGMENTS if fragment.startswith('"') and "\\" not in fragment]
ODD_TEXTS = ["é", "診" * 64, "\U0001f3e5" * 64, "\U0001f3e5" * 65, "\x7f", "\u2028", "\ufeff", "a\u0300", " ", ""]


def contract(key: bytes | None, value: bytes | None, timestamp_ms: int = 0) -> Command | None:
    try:
        return read_command(key, value, timestamp_ms)
    except UnreadableRecord:
        return None


def is_read_alike(key: bytes, value: bytes, timestamp_ms: int = 0) -> bool:
    """Hold the readers against each other; say whether the record was plain."""
    quickly = read_plain_command(key, value, timestamp_ms)
    assert quickly is None or as_model(quickly) == contract(key, value, timestamp_ms), value
    return quickly is not None


def written(name: str, **more: Any) -> bytes:
    department = {"facility_id": "blr1", "department_id": "cardiology"}
    envelope = {"specversion": "1.0", "id": "c", "source": "s", "type": f"opd.{name}.v1"} | more
    return json.dumps(envelope | {"data": department | DATA[name]}, ensure_ascii=False).encode()


@pytest.mark.parametrize("name", DATA)
def test_commands_of_texts_alone_are_plain(name: str) -> None:
    assert is_read_alike(KEY, written(name)) is (name in ALL_TEXTS)
    handed_on = {"time": "t", "traceparent": "é" * 256, "correlationid": "\U0001f3e5"}
    assert is_read_alike(KEY, written(name, **handed_on)) is (name in ALL_TEXTS)


@pytest.mark.parametrize("seed", range(8))
def test_the_readers_agree_on_records_of_every_kind(seed: int) -> None:
    rng = Random(seed)
    plain_ones = sum(is_read_alike(KEY, a_record(rng)) for _ in range(2_500))
    assert plain_ones > 200


@pytest.mark.parametrize("seed", range(8))
def test_the_readers_agree_on_records_that_are_plain_but_for_one_thing(seed: int) -> None:
    rng = Random(seed)
    plain_ones = sum(is_read_alike(KEY, nearly_plain(rng)) for _ in range(2_500))
    assert 500 < plain_ones < 2_000


def nearly_plain(rng: Random) -> bytes:
    handed_on = {"correlationid": "é"} if rng.random() < 0.5 else {}
    command = json.loads(written(rng.choice(sorted(ALL_TEXTS)), **handed_on))
    part = command if rng.random() < 0.5 else command["data"]
    name, seed = rng.choice(sorted(part)), rng.random()
    if seed < 0.2:
        part[name] = rng.choice(ODD_TEXTS)
    text = json.dumps(command, ensure_ascii=False)
    if 0.2 < seed < 0.7:  # once more, before or behind, with another word
        again = f"{json.dumps(name)}:{rng.choice(WORDS if seed < 0.5 else FRAGMENTS)}"
        text = f"{{{again},{text[1:]}" if seed < 0.35 else f"{text[:-1]},{again}}}"
    value = text.encode("utf-8", "surrogatepass")
    return spoil(rng, value) if seed > 0.9 else value


@pytest.mark.parametrize("fragment", FRAGMENTS)
@pytest.mark.parametrize("where", ["id", "correlationid", "date", "slot", "source", "doctor_id", "patient_id", "data"])
def test_the_readers_agree_on_odd_values_everywhere(where: str, fragment: str) -> None:
    text = written("RequestToken", correlationid="x").decode()
    mark = json.dumps(
        json.loads(text)["data"] if where == "data" else {**json.loads(text), **DATA["RequestToken"]}[where]
    )
    mark = json.dumps(json.loads(mark), ensure_ascii=False)
    at = text.rindex(f'"{where}": {mark}')
    spoiled = f'{text[:at]}"{where}":{fragment}{text[at + len(where) + 4 + len(mark) :]}'
    is_read_alike(KEY, spoiled.encode("utf-8", "surrogatepass"))


def test_where_a_record_stands_counts_as_it_does_in_the_contract() -> None:
    good = written("CheckIn")
    assert is_read_alike(KEY, good, LAST_TIMESTAMP_MS)
    assert is_read_alike(KEY, good + b" " * (MAX_RECORD_BYTES - len(good)))
    for key, value, timestamp_ms in (
        (KEY, good, -1),
        (KEY, good, LAST_TIMESTAMP_MS + 1),
        (KEY, good + b" " * (MAX_RECORD_BYTES - len(good) + 1), 0),
        (b"blr1/cardiology ", good, 0),
        (b"blr1/cardiology/", good, 0),
        (b"blr1", good, 0),
        (b"\xff", good, 0),
        (b"", good, 0),
        (KEY, b"", 0),
        (KEY, b'{"data":' + b"[" * 16_000, 0),
    ):
        assert read_plain_command(key, value, timestamp_ms) is None
        assert contract(key, value, timestamp_ms) is None


def test_what_the_contract_s_types_refuse_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_MOST_KNOWN", 3)
    known = Known[str, int](int)
    assert [known[word] for word in "1231"] == [1, 2, 3, 1]
    assert len(known) == 3
    with pytest.raises(ValueError, match="invalid literal"):
        known["x"]
    assert known["4"] == 4
    assert dict(known) == {"4": 4}, "begun anew when there are too many"


def test_spellings_of_json_that_are_plain() -> None:
    spaced = json.dumps(json.loads(written("CallNext")), indent="\t").encode()
    assert is_read_alike(KEY, b"\r\n " + spaced + b" ")
    shuffled = dict(reversed(json.loads(spaced).items()))
    assert is_read_alike(KEY, json.dumps(shuffled).encode())
    assert not is_read_alike(KEY, Writer(Random(1)).write(json.loads(spaced)).replace("opd.", r"opd\u002e").encode())
