"""The trail as gateways write it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import asyncpg
import structlog

from services.history.postgres import connect
from services.history.schema import migrate
from services.settings import Settings
from services.trail.chain import EMPTY, Head, Noted, following

_log = structlog.stdlib.get_logger(__name__)

VERSIONS = Path(__file__).parent / "migrations" / "versions"

MAX_WAITING = 100_000
WRITTEN_WITHIN_S = 5.0
_BATCH = 1_000
_GATHER_S = 0.05
_AGAIN_AFTER_S = 0.5
_ANCHOR_EVERY_S = 60.0

LAST = "SELECT number, hash FROM trail ORDER BY number DESC LIMIT 1"


class NotNoted(Exception):  # noqa: N818  it is what it is
    """PostgreSQL did not take the row in time; it may do so later."""


class _Attempt(NamedTuple):
    """A batch whose commit was begun: the head that it leads to, and how many rows it has."""

    head: Head
    rows: int


class Trail:
    """Rows for the audit trail, written in batches: all gateways' form one chain, by a lock for each batch."""

    def __init__(self, settings: Settings) -> None:
        """`writing` makes one that works."""
        self._settings = settings
        self._waiting: list[tuple[Noted, asyncio.Future[None] | None]] = []
        self._something, self._urgent, self._all_written = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._all_written.set()
        self._attempted: _Attempt | None = None
        self._head: Head | None = None
        self._anchored: Head | None = None
        self._anchored_at = time.monotonic()
        self._is_migrated = False

    @property
    def is_full(self) -> bool:
        """Whether more rows wait for PostgreSQL than can be held."""
        return len(self._waiting) >= MAX_WAITING

    def add(self, noted: Noted) -> None:
        """Have a row written soon; for what the log of commands tells too."""
        self._put(noted, None)

    async def write(self, noted: Noted) -> None:
        """Write a row and return when it is committed.

        Raises:
            NotNoted: it is not within `WRITTEN_WITHIN_S`.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(noted, done)
        self._urgent.set()
        try:
            async with asyncio.timeout(WRITTEN_WITHIN_S):
                await done
        except TimeoutError:
            raise NotNoted from None

    def _put(self, noted: Noted, done: asyncio.Future[None] | None) -> None:
        self._waiting.append((noted, done))
        self._something.set()
        self._all_written.clear()

    async def run(self) -> None:
        """Write what comes, for ever; what PostgreSQL does not take now it is given again."""
        while True:
            try:
                await self._write_what_comes()
            except Exception as error:  # noqa: BLE001  whatever it is, who waits for their rows needs this to go on
                # Not its text: it may quote a row.
                _log.warning("the audit trail cannot be written, trying again", error=type(error).__name__)
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def _write_what_comes(self) -> None:
        settings = self._settings
        if not self._is_migrated:
            await migrate(settings.vault_address, settings.audit_schema, VERSIONS)
            self._is_migrated = True
        connection = await connect(settings.vault_address, settings.audit_schema)
        try:
            while True:
                await self._something.wait()
                if not self._urgent.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._urgent.wait(), _GATHER_S)
                await self._write_batch(connection)
        finally:
            connection.terminate()

    async def _write_batch(self, connection: asyncpg.Connection) -> None:
        # What was attempted is attempted again as it was, so that it can be known again.
        batch = self._waiting[: self._attempted.rows if self._attempted else _BATCH]
        self._head = await self._append(connection, [noted for noted, _ in batch])
        self._attempted = None
        del self._waiting[: len(batch)]
        for _, done in batch:
            if done is not None and not done.done():
                done.set_result(None)
        if not self._waiting:
            self._something.clear()
            self._urgent.clear()
            self._all_written.set()
        if time.monotonic() - self._anchored_at > _ANCHOR_EVERY_S:
            self.anchor()

    async def _append(self, connection: asyncpg.Connection, rows: list[Noted]) -> Head:
        async with connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext($1))", f"{self._settings.audit_schema}: trail"
            )
            if self._attempted is not None:
                # The answer to the last commit was lost, and perhaps nothing else.
                there = "SELECT count(*) FROM trail WHERE number = $1 AND hash = $2"
                if await connection.fetchval(there, *self._attempted.head):
                    return self._attempted.head
            last = await connection.fetchrow(LAST)
            head = EMPTY if last is None else Head(*last)
            records = []
            for noted in rows:
                head = following(head, noted)
                records.append((head.number, *noted, head.hash))
            await connection.copy_records_to_table("trail", records=records)
            self._attempted = _Attempt(head, len(rows))
        return head

    def anchor(self) -> None:
        """Tell the head to the log, and to the anchors' file if there is one: a trail cut short shows by it."""
        self._anchored_at = time.monotonic()
        if self._head is None or self._head == self._anchored:
            return
        self._anchored = self._head
        _log.info("the audit trail reaches", number=self._head.number, hash=self._head.hash.hex())
        if self._settings.audit_anchors is not None:
            with self._settings.audit_anchors.open("a", encoding="ascii") as file:
                file.write(f"{self._head} {datetime.now(UTC).isoformat(timespec='seconds')}\n")

    async def finish(self) -> None:
        """Wait until nothing waits any more."""
        self._urgent.set()
        await self._all_written.wait()


@asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator[Trail]:
    """Give a trail that is written; at the end, what waits is written if PostgreSQL takes it in time."""
    trail = Trail(settings)
    task = asyncio.create_task(trail.run())
    try:
        yield trail
        with suppress(TimeoutError):
            async with asyncio.timeout(WRITTEN_WITHIN_S):
                await trail.finish()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        trail.anchor()
