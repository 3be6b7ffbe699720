"""The first simulated schedules of faults, a few a test: so a mistake in the recovery is found soon."""

import pytest

from tests.faults.schedule import play

SCHEDULES = 400
A_TEST = 20


@pytest.mark.parametrize("first", range(0, SCHEDULES, A_TEST))
def test_whatever_dies_everything_is_decided_once_and_said(first: int) -> None:
    for seed in range(first, first + A_TEST):
        assert not play(seed).breaches
