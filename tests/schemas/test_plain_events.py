"""The quick reader of events is sound: what it gives, the contract's reader gives too, with the same values."""

import json
from itertools import islice
from random import Random
from typing import Any

import pytest
from pydantic import BaseModel

from allocation_core.model import Model
from schemas.events import EVENTS, AnyEvent, UnreadableEvent, moment_of, read_event
from schemas.export import example, message_type
from schemas.plain_events import read_plain_event
from schemas.wire import write_events, written
from schemas.words import RejectionReason
from tests.core.days import random_commands
from tests.schemas.records import FRAGMENTS, spoil

EXAMPLES = {message_type(event).split(".")[1]: example(event) for event in EVENTS}
LEFT_TO_THE_CONTRACT = {"TokenPreempted", "TokenReassigned", "TokenUpgraded"}
PLAIN = {name for name in EXAMPLES if name.startswith(("Token", "Command"))} - LEFT_TO_THE_CONTRACT
ODD_TEXTS = ["é", "診" * 64, "\U0001f3e5" * 64, "\U0001f3e5" * 65, "\x7f", "\u2028", "\ufeff", "a\u0300", " ", ""]
DIGITS = ["-0", "\u0663", "1_0", "+1", " 1", "01", "2147483647", "2147483648", f"{2**63 - 1}", f"{2**63}", "9" * 5000]


def contract(value: bytes) -> AnyEvent | None:
    try:
        return read_event(value)
    except UnreadableEvent:
        return None


def is_read_alike(value: bytes) -> bool:
    """Hold the readers against each other; say whether the event was plain."""
    quickly = read_plain_event(value)
    if quickly is None:
        return False
    slowly = contract(value)
    assert slowly is not None, value
    assert same(quickly, slowly), value
    assert moment_of(slowly.time).tzinfo is not None
    return True


def same(quickly: Any, slowly: BaseModel) -> bool:
    """Whether all that the contract's model has is there, and equal."""
    return all(
        same(getattr(quickly, name), value) if isinstance(value, BaseModel) else getattr(quickly, name) == value
        for name, value in slowly
    )


def as_written(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_happens_to_a_token_is_plain(name: str) -> None:
    assert is_read_alike(as_written(EXAMPLES[name])) is (name in PLAIN)
    handed_on = {"traceparent": "é" * 256, "correlationid": "\U0001f3e5"}
    assert is_read_alike(as_written(EXAMPLES[name] | handed_on)) is (name in PLAIN)
    assert not is_read_alike(as_written(EXAMPLES[name] | {"of-a-proxy": "x"}))
    assert not is_read_alike(as_written(EXAMPLES[name] | {"causationid": "a\\b"}))


def test_of_what_the_engine_says_nearly_all_is_plain() -> None:
    model, types, plain = Model(), set(), 0
    said = []
    for offset, (command, timestamp_ms) in enumerate(islice(random_commands(seed=4, count=3000), 3000)):
        events = [written(event) for event in model.decide(command, timestamp_ms)]
        said += write_events(0, offset, timestamp_ms, command, events)
    for value in said:
        is_plain = is_read_alike(value)
        plain += is_plain
        types |= {json.loads(value)["type"].split(".")[1]} if is_plain else set()
    assert types == PLAIN
    assert plain > 0.8 * len(said)


@pytest.mark.parametrize("seed", range(4))
def test_the_readers_agree_on_events_that_are_plain_but_for_one_thing(seed: int) -> None:
    rng = Random(seed)
    plain_ones = sum(is_read_alike(nearly_plain(rng)) for _ in range(2_000))
    assert 300 < plain_ones < 1_700


def nearly_plain(rng: Random) -> bytes:
    handed_on = {"correlationid": "é"} if rng.random() < 0.5 else {}
    event = json.loads(as_written(EXAMPLES[rng.choice(sorted(PLAIN))] | handed_on))
    part = event if rng.random() < 0.3 else event["data"]
    name, seed = rng.choice(sorted(part)), rng.random()
    if seed < 0.1:
        part[name] = rng.choice(ODD_TEXTS)
    elif seed < 0.2:  # of another event
        part[name] = rng.choice([other for each in EXAMPLES.values() for other in each["data"].values()])
    text = json.dumps(event, ensure_ascii=False)
    if 0.2 < seed < 0.5:  # once more, before or behind, with another word
        again = f"{json.dumps(name)}:{rng.choice(FRAGMENTS)}"
        text = f"{{{again},{text[1:]}" if seed < 0.35 else f"{text[:-1]},{again}}}"
    value = text.encode("utf-8", "surrogatepass")
    return spoil(rng, value) if seed > 0.9 else value


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_the_readers_agree_on_odd_values_everywhere(fragment: str) -> None:
    for event in (EXAMPLES["TokenConfirmed"], EXAMPLES["TokenWaitlisted"], EXAMPLES["CommandRejected"]):
        text = json.dumps(event)
        for name, value in (*event.items(), *event["data"].items()):
            genuine = f"{json.dumps(name)}: {json.dumps(value)}"
            assert genuine in text
            is_read_alike(text.replace(genuine, f"{json.dumps(name)}: {fragment}").encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("reason", RejectionReason)
def test_the_readers_agree_on_what_fits_a_refusal(reason: str) -> None:
    event = EXAMPLES["CommandRejected"]
    named = as_written(event | {"data": event["data"] | {"reason": reason}})
    data = {name: value for name, value in event["data"].items() if name != "token_id"} | {"reason": reason}
    bare = as_written({name: value for name, value in event.items() if name != "subject"} | {"data": data})
    read = [is_read_alike(named), is_read_alike(bare)]
    assert read == [contract(named) is not None, contract(bare) is not None]
    assert True in read


@pytest.mark.parametrize("digits", DIGITS)
def test_numbers_are_those_that_are_written_so(digits: str) -> None:
    event, read = EXAMPLES["TokenWaitlisted"], []
    for place in range(3):
        numbers = ["0", "7", "0"]
        numbers[place] = digits
        read.append(is_read_alike(as_written(event | {"id": "-".join(numbers)})))
    fits = {"2147483647": [True] * 3, "2147483648": [False, True, False], f"{2**63 - 1}": [False, True, False]}
    assert read == fits.get(digits, [False] * 3)
    for sequence in (digits, digits.zfill(16), digits.rjust(16, "\u0663")[-16:]):
        is_read_alike(as_written(event | {"sequence": sequence}))
    for name in ("token_no", "position"):
        is_read_alike(as_written(event).replace(f'"{name}": '.encode(), f'"{name}": {digits}'.encode()))


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-23T24:00:00.000Z",
        "2026-02-29T00:00:00.000Z",
        "0000-01-01T00:00:00.000Z",
        "2026-W48-1T00:00:00.000Z",
        "2026-11-23 00:00:00.000Z",
        "2026-11-23T00:00:00,000Z",
        "2026-11-23T00:00:00.00\u0660Z",
        "2026-11-23T00:00:00.0000",
        "2026-11-23T00:00:00Z",
        "2026-11-23T00:00:00.000+00:00",
    ],
)
def test_a_time_of_another_spelling_or_of_no_calendar_is_not_plain(time: str) -> None:
    assert not is_read_alike(as_written(EXAMPLES["TokenCalled"] | {"time": time}))
