from datetime import UTC, datetime

import pytest

from allocation_core.calendar import (
    date_of_day,
    day_of_date,
    day_of_timestamp,
    read_token_id,
    token_id,
    weekday_of,
    yyyymmdd,
)
from schemas.words import LAST_TIMESTAMP_MS, Weekday

DAY = 20780  # 2026-11-23, a Monday


@pytest.mark.parametrize(
    ("text", "day"),
    [("1970-01-01", 0), ("1969-12-31", -1), ("2026-11-23", DAY), ("0001-01-01", -719162), ("9999-12-31", 2932896)],
)
def test_day_counts_from_1970(text: str, day: int) -> None:
    assert day_of_date(text) == day
    assert date_of_day(day) == text


def test_timestamp_s_day_changes_at_midnight_utc() -> None:
    midnight_ms = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp()) * 1000
    assert day_of_timestamp(midnight_ms - 1) == DAY - 1
    assert day_of_timestamp(midnight_ms) == DAY
    assert day_of_timestamp(0) == 0
    assert day_of_timestamp(LAST_TIMESTAMP_MS) == day_of_date("9999-12-31")


def test_weekdays_follow_each_other() -> None:
    assert [weekday_of(DAY + offset) for offset in range(-1, 7)] == [Weekday.SUN, *Weekday]
    assert weekday_of(day_of_date("1970-01-01")) is Weekday.THU
    assert weekday_of(day_of_date("1969-12-31")) is Weekday.WED
    assert weekday_of(day_of_date("2024-02-29")) is Weekday.THU


def test_token_id_is_read_as_it_is_written() -> None:
    assert yyyymmdd("2026-11-23") == "20261123"
    assert token_id("blr1", "cardiology", "2026-11-23", 17) == "blr1.cardiology.20261123.17"
    assert read_token_id("blr1.cardiology.20261123.17", "blr1", "cardiology") == (DAY, 17)
    assert read_token_id("blr1.cardiology.00010101.1", "blr1", "cardiology") == (-719162, 1)
    assert read_token_id("blr1.cardiology.20261123.999999999999999", "blr1", "cardiology") == (DAY, 10**15 - 1)


@pytest.mark.parametrize(
    "text",
    [
        "blr1.cardiology.20261123.017",
        "blr1.cardiology.20261123.0",
        "blr1.cardiology.20261123.",
        "blr1.cardiology.20261123",
        "blr1.cardiology.20261123.17.",
        "blr1.cardiology.20261123.17.1",
        "blr1.cardiology.20261123.-1",
        "blr1.cardiology.20261123.1-",
        "blr1.cardiology.20261123.1a",
        "blr1.cardiology.20261123.\u0661",
        "blr1.cardiology.20261123.1000000000000000",
        "blr1.cardiology.2026112.17",
        "blr1.cardiology.020261123.17",
        "blr1.cardiology.20261131.17",
        "blr1.cardiology.00001231.17",
        "blr1.cardiology.2026-1-1.17",
        "blr1.cardiology.2026W471.17",
        "blr1.cardiology.2026W47-1.17",
        "blr1.cardiology.2026-11-23.17",
        "blr1.cardiology.2026.17",
        "blr1.cardiology.+2261123.17",
        "blr1.cardiology.2026 123.17",
        "blr1.cardiology.2026112\u0663.17",
        "blr1.cardiology..17",
        ".cardiology.20261123.17",
        "blr1.neurology.20261123.17",
        "blr10.cardiology.20261123.17",
        "blr1-cardiology.20261123.17",
        "",
        ".",
        "9" * 128,
    ],
)
def test_any_other_spelling_is_no_token_id(text: str) -> None:
    assert read_token_id(text, "blr1", "cardiology") is None
