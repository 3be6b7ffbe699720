"""The quick form of `make fuzz`: hostile records decide nothing wrong and stop nothing (R1)."""

import pytest

from schemas.events import EVENTS
from schemas.words import RejectionReason
from services.settings import Settings
from tests.fuzz import judge, running
from tests.fuzz.__main__ import in_process
from tests.fuzz.generator import _KINDS, PARTITIONS, Fuzzed, a_round
from tests.fuzz.judge import is_readable_there

RARE = {RejectionReason.WAITLIST_FULL, RejectionReason.DEPARTMENT_FULL}  # `tests/core` sees to them


def test_twenty_thousand_records_are_read_and_decided_as_they_should_be(redis_url: str) -> None:
    tally = in_process(1, 0, 20_000, redis_url)
    reached = {name for name, count in tally.items() if count}
    assert {f"unreadable: {kind}" for kind in _KINDS} <= reached
    assert {f"readable: {kind}" for kind in _KINDS} - {"readable: junk", "readable: misplaced"} <= reached
    assert {f"event: {event.__name__}" for event in EVENTS if event.__name__ != "CommandRejected"} <= reached
    assert {f"event: CommandRejected {reason}" for reason in set(RejectionReason) - RARE} <= reached


def test_three_thousand_records_through_a_running_allocator(settings: Settings) -> None:
    answered, refused = running.run(settings, a_round(2, 0)[:3_000])
    assert min(answered, refused) > 1_000


def test_a_round_is_the_same_for_the_same_seed() -> None:
    assert a_round(3, 1) == a_round(3, 1)
    assert a_round(3, 1) != a_round(3, 2)
    assert {record.partition for record in a_round(3, 1)} == set(range(PARTITIONS))


def test_what_is_read_wrongly_is_caught_and_told_how_to_see_again(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def all_but_one(record: Fuzzed) -> bool:
        return is_readable_there(record) and record.timestamp_ms != 1

    monkeypatch.setattr(judge, "is_readable_there", all_but_one)
    with pytest.raises(AssertionError, match="the oracle says otherwise"):
        in_process(1, 0, 20_000, redis_url)
    assert "again: make fuzz OPTIONS='--seed 1 --first-round" in capsys.readouterr().err
