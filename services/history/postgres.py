"""How the history's PostgreSQL is reached."""

import asyncio
import time
from collections.abc import Callable
from datetime import date
from functools import lru_cache

import asyncpg
import structlog

from services.errors import OpdError
from services.settings import without_password

_log = structlog.stdlib.get_logger(__name__)

_CONNECTS_WITHIN_S = 5.0
# A host that vanished must not hold its locks for hours.
_KEEPALIVES = {"tcp_keepalives_idle": "20", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
_DAY_ZERO = date(2000, 1, 1).toordinal()  # PostgreSQL's
_INFINITY = (2**31 - 1,)
ANSWERS_WITHIN_S = 60.0
_AGAIN_AFTER_S = 0.5

WENT_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
)
"""What an operation raises when PostgreSQL went away, or was just coming."""

LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What an operation raises when PostgreSQL went away or refused: worth another try."""


class NoPostgres(OpdError):  # noqa: N818  it is what it is
    """There is no PostgreSQL to be had at the address."""


async def connect(url: str, schema: str) -> asyncpg.Connection:
    """Connect, with the schema as the place where names are looked up; dates are texts, as in the contract."""
    connection = await asyncpg.connect(
        url,
        timeout=_CONNECTS_WITHIN_S,
        command_timeout=ANSWERS_WITHIN_S,
        server_settings={"search_path": schema, "application_name": "opd", "timezone": "UTC", **_KEEPALIVES},
    )
    # asyncpg's own way to read dates takes 9999-12-31 for infinity.
    await connection.set_type_codec(
        "date", schema="pg_catalog", format="tuple", encoder=_days_of_date, decoder=_date_of_days
    )
    return connection


@lru_cache(maxsize=1024)
def _days_of_date(text: str) -> tuple[int]:
    return (date.fromisoformat(text).toordinal() - _DAY_ZERO,)


def _date_of_days(days: tuple[int]) -> str:
    return "infinity" if days == _INFINITY else date.fromordinal(days[0] + _DAY_ZERO).isoformat()


async def wait_for_postgres(url: str, *, timeout_s: float) -> None:
    """Return when it takes a connection.

    Raises:
        NoPostgres: it has not in time, or refuses for good.
    """
    deadline = time.monotonic() + timeout_s
    said = False
    while True:
        try:
            connection = await connect(url, "public")
        except LOST as error:
            starts = isinstance(error, OSError | TimeoutError | asyncpg.CannotConnectNowError)
            if not starts or time.monotonic() > deadline:
                raise NoPostgres(
                    f"no PostgreSQL at {without_password(url)}: {error or type(error).__name__}\n"
                    "try: look whether it runs, or set OPD_POSTGRES_URL to where it does"
                ) from error
        except ValueError as error:  # an address that is none: its text may quote a password
            raise NoPostgres(f"OPD_POSTGRES_URL cannot be used: {type(error).__name__}\ntry: mend it") from error
        else:
            await connection.close()
            return
        if not said:
            said = True
            _log.info("waiting for PostgreSQL", at=without_password(url), timeout_s=timeout_s)
        await asyncio.sleep(0.2)


async def is_the_only_one(
    connection: asyncpg.Connection, name: str, stopping: asyncio.Event, *, standing_by: Callable[[], None]
) -> bool:
    """Wait until no other connection has the lock of that name; False if stopped meanwhile.

    `standing_by` is called whenever another one has it.
    """
    while not stopping.is_set():
        if await connection.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", name):
            return True
        standing_by()
        await pause(stopping)
    return False


async def pause(stopping: asyncio.Event) -> None:
    """Wait a moment before PostgreSQL is asked again, and not longer than until it is stopped."""
    try:
        async with asyncio.timeout(_AGAIN_AFTER_S):
            await stopping.wait()
    except TimeoutError:
        return
