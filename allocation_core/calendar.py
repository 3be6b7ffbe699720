"""Days and token ids: how the contract's dates, timestamps and token ids are counted and spelt (spec §1)."""

from datetime import date
from functools import lru_cache

from schemas.words import Weekday

DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()
_WEEKDAYS = tuple(Weekday)
_THURSDAY = 3  # 1970-01-01 was one
_TOKEN_NO_DIGITS = 15  # no department gets further, and every engine's integers hold it


def day_of_timestamp(timestamp_ms: int) -> int:
    """Give the UTC day of a Kafka timestamp, as days since 1970-01-01."""
    return timestamp_ms // DAY_MS


@lru_cache(maxsize=4096)
def day_of_date(text: str) -> int:
    """Give the day of a date `yyyy-mm-dd`, as days since 1970-01-01 (negative before it)."""
    return date.fromisoformat(text).toordinal() - _EPOCH


@lru_cache(maxsize=4096)
def date_of_day(day: int) -> str:
    """Give the date `yyyy-mm-dd` of a day since 1970-01-01."""
    return date.fromordinal(day + _EPOCH).isoformat()


def weekday_of(day: int) -> Weekday:
    """Give the weekday of a day since 1970-01-01."""
    return _WEEKDAYS[(day + _THURSDAY) % 7]


@lru_cache(maxsize=4096)
def yyyymmdd(text: str) -> str:
    """Give a date `yyyy-mm-dd` as it stands in a token id."""
    return text.replace("-", "")


def token_id(facility_id: str, department_id: str, date_text: str, token_no: int | str) -> str:
    """Give the id of a department's token: `{facility_id}.{department_id}.{yyyymmdd}.{token_no}`."""
    return f"{facility_id}.{department_id}.{yyyymmdd(date_text)}.{token_no}"


def read_token_id(text: str, facility_id: str, department_id: str) -> tuple[int, int] | None:
    """Read a token id of one department.

    A token id is compared whole, so only the one spelling that `token_id` gives is read: no leading zero, a real
    date, this department.

    Returns:
        The date as days since 1970-01-01 and the token_no; None for a text that is no token id of the department.
    """
    parts = text.split(".")  # no facility and no department has a dot in its id
    if len(parts) != 4 or parts[0] != facility_id or parts[1] != department_id:
        return None
    day, no_digits = _day_of_yyyymmdd(parts[2]), parts[3]
    if day is None or len(no_digits) > _TOKEN_NO_DIGITS or not _are_digits(no_digits) or no_digits[0] == "0":
        return None
    return day, int(no_digits)


@lru_cache(maxsize=4096)
def _day_of_yyyymmdd(digits: str) -> int | None:
    try:  # with hyphens at these places, Python reads nothing else than eight digits
        return day_of_date(f"{digits[:4]}-{digits[4:6]}-{digits[6:]}")
    except ValueError:
        return None


def _are_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
