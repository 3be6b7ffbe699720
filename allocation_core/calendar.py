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


def date_of_day(day: int) -> str:
    """Give the date `yyyy-mm-dd` of a day since 1970-01-01."""
    return date.fromordinal(day + _EPOCH).isoformat()


def weekday_of(day: int) -> Weekday:
    """Give the weekday of a day since 1970-01-01."""
    return _WEEKDAYS[(day + _THURSDAY) % 7]


def yyyymmdd(text: str) -> str:
    """Give a date `yyyy-mm-dd` as it stands in a token id."""
    return text.replace("-", "")


def token_id(facility_id: str, department_id: str, date_text: str, token_no: int) -> str:
    """Give the id of a department's token: `{facility_id}.{department_id}.{yyyymmdd}.{token_no}`."""
    return f"{facility_id}.{department_id}.{yyyymmdd(date_text)}.{token_no}"


def read_token_id(text: str, facility_id: str, department_id: str) -> tuple[int, int] | None:
    """Read a token id of one department.

    A token id is compared whole, so only the one spelling that `token_id` gives is read: no leading zero, a real
    date, this department.

    Returns:
        The date as days since 1970-01-01 and the token_no; None for a text that is no token id of the department.
    """
    prefix = f"{facility_id}.{department_id}."
    if not text.startswith(prefix):
        return None
    day_digits, _, no_digits = text[len(prefix) :].partition(".")
    if len(no_digits) > _TOKEN_NO_DIGITS or not _are_digits(no_digits) or no_digits[0] == "0":
        return None
    try:
        day = day_of_date(f"{day_digits[:4]}-{day_digits[4:6]}-{day_digits[6:]}")
    except ValueError:
        return None
    return day, int(no_digits)


def _are_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
