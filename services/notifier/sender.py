"""Sends what is due: to whom the vault says, in their language, by the first channel that reaches them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import asyncpg
import stamina
import structlog

from services.notifier import outbox
from services.notifier.channels import Channel
from services.notifier.metrics import NotifierMetrics
from services.notifier.notices import Kind
from services.notifier.outbox import Due
from services.notifier.wording import render
from services.vault.contact import Contact
from services.vault.keys import Unreadable
from services.vault.vault import VaultUnavailable

_log = structlog.stdlib.get_logger(__name__)

_AT_ONCE = 8
_LOOK_EVERY_S = 1.0
_FORGET_EVERY_S = 3600.0
TRIES_AT_ONCE = 3
_TRIED_AGAIN_AFTER_S = 0.5
# When a channel takes nothing for a while: after these the message is given up.
LATER_AFTER = (
    timedelta(seconds=15),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=20),
    timedelta(hours=1),
)
# Without the vault nothing can be sent at all: it is asked again after twice as long each time.
_VAULT_AGAIN_AFTER = timedelta(seconds=1)
_VAULT_AGAIN_AFTER_AT_MOST = timedelta(minutes=1)
_SOON_FOR = timedelta(minutes=15)


class Contacts(Protocol):
    """Who knows how patients are reached."""

    async def contact(self, facility_id: str, patient_id: str) -> Contact | None:
        """Give how a patient is reached; None if that is not known."""


class NotTaken(Exception):  # noqa: N818  it is what happened
    """A channel did not take a message."""


class Sender:
    """Takes messages out of the outbox, and says there what became of them.

    A message is marked before it is sent, and again when the channel has answered: one that was on its way when
    everything was killed is sent once more, and no third time.
    """

    def __init__(  # noqa: PLR0913, PLR0917  its parts
        self,
        contacts: Contacts,
        channels: Sequence[Channel],
        time_zone: str,
        metrics: NotifierMetrics,
        new: asyncio.Event,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`new` is set when there may be more to send."""
        self._contacts, self._channels, self._metrics = contacts, channels, metrics
        self._zone = ZoneInfo(time_zone)
        self._new, self._now = new, now
        self._vault_pause = timedelta(0)
        self._vault_again_at = datetime.min.replace(tzinfo=UTC)

    async def run(self, connection: asyncpg.Connection, stopping: asyncio.Event) -> None:
        """Send until told to stop; what is on its way then is waited for."""
        again, given_up = await outbox.recover(connection)
        if again or given_up:
            _log.warning("a notifier was killed while it sent", sent_once_more=again, given_up=len(given_up))
        for kind in given_up:
            self._metrics.ended.labels(kind, "DEAD").inc()
        forget_at = 0.0
        while not stopping.is_set():
            self._new.clear()
            if time.monotonic() >= forget_at:
                await outbox.forget(connection, self._now())
                forget_at = time.monotonic() + _FORGET_EVERY_S
            if await self.send_due(connection):
                continue
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._new.wait()
            except TimeoutError:
                continue

    async def send_due(self, connection: asyncpg.Connection) -> int:
        """Send some of what is due, and give how many there were; none while the vault is left alone."""
        now = self._now()
        if now < self._vault_again_at:
            return 0
        batch = await outbox.claim(connection, now, 1 if self._vault_pause else _AT_ONCE)
        one_at_a_time = asyncio.Lock()  # a connection serves one
        await asyncio.gather(*(self._deal_with(connection, one_at_a_time, due) for due in batch))
        return len(batch)

    async def _deal_with(self, connection: asyncpg.Connection, lock: asyncio.Lock, due: Due) -> None:
        now = self._now()
        try:
            contact = await self._contacts.contact(due.facility_id, due.patient_id)
        except VaultUnavailable:
            self._leave_the_vault_alone(now)
            async with lock:
                await outbox.put_back(connection, due, now, tried=False)
            return
        except Unreadable:
            fault = "the contact cannot be read: is it the vault's key?"
            await self._give_up(connection, lock, due, None, fault)
            return
        self._vault_pause = timedelta(0)
        if (why_not := self._why_not(due, contact, now)) is not None:
            await self._end(connection, lock, due, why_not)
            return
        assert contact is not None  # noqa: S101  as just said
        if (until := self._quiet_until(contact, now)) is not None:
            async with lock:
                await outbox.put_back(connection, due, until, tried=False)
            return
        channel, to = next(
            (channel, address) for channel in self._channels if (address := channel.address_of(contact)) is not None
        )
        if await self._send(channel, to, due, contact):
            await self._end(connection, lock, due, "SENT", channel.name)
        elif due.attempts > len(LATER_AFTER):
            await self._give_up(connection, lock, due, channel.name, f"not taken, tried {due.attempts} times")
        else:
            later = self._now() + LATER_AFTER[due.attempts - 1]
            async with lock:
                await outbox.put_back(connection, due, later, tried=True)

    def _leave_the_vault_alone(self, asked_at: datetime) -> None:
        if asked_at < self._vault_again_at:
            return  # another one asked it at the same time, and had no answer either
        twice_as_long = max(2 * self._vault_pause, _VAULT_AGAIN_AFTER)
        self._vault_pause = min(twice_as_long, _VAULT_AGAIN_AFTER_AT_MOST)
        self._vault_again_at = self._now() + self._vault_pause
        _log.warning("nobody can be told without the vault", asked_again_in_s=self._vault_pause.total_seconds())

    def _why_not(self, due: Due, contact: Contact | None, now: datetime) -> str | None:
        """Say why a message is not to be sent at all; None if it is."""
        is_over = due.about["date"] < f"{now.astimezone(self._zone).date()}"
        if is_over or (due.kind is Kind.SOON and now - due.said_at > _SOON_FOR):
            return "TOO_LATE"
        if contact is None:
            return "NO_CONTACT"
        if not contact.consent:
            return "NO_CONSENT"
        reached = any(channel.address_of(contact) is not None for channel in self._channels)
        return None if reached else "NO_CHANNEL"

    def _quiet_until(self, contact: Contact, now: datetime) -> datetime | None:
        """Give when a patient's quiet hours end, if it is one."""
        if contact.quiet_hours is None:
            return None
        begin, end = contact.quiet_hours.split("-")
        local = now.astimezone(self._zone)
        time_now = f"{local:%H:%M}"
        is_quiet = begin <= time_now < end if begin <= end else time_now >= begin or time_now < end
        if not is_quiet:
            return None
        until = local.replace(hour=int(end[:2]), minute=int(end[3:]), second=0, microsecond=0)
        return until if until > local else until + timedelta(days=1)

    async def _send(self, channel: Channel, to: str, due: Due, contact: Contact) -> bool:
        title, text = render(due.kind, contact.language, due.about)

        @stamina.retry(
            on=NotTaken,
            attempts=TRIES_AT_ONCE,
            wait_initial=_TRIED_AGAIN_AFTER_S,
            wait_jitter=_TRIED_AGAIN_AFTER_S,
            timeout=None,
        )
        async def send() -> None:
            started = time.monotonic()
            taken = await asyncio.to_thread(channel.send, to, title, text)
            self._metrics.send.labels(channel.name).observe(time.monotonic() - started)
            if not taken:
                self._metrics.failures.labels(channel.name).inc()
                raise NotTaken

        try:
            await send()
        except NotTaken:
            _log.warning("a channel takes nothing", channel=channel.name, message=due.id, attempts=due.attempts)
            return False
        return True

    async def _end(
        self, connection: asyncpg.Connection, lock: asyncio.Lock, due: Due, state: str, channel: str | None = None
    ) -> None:
        async with lock:
            await outbox.end(connection, due, state, channel)
        self._metrics.ended.labels(due.kind, state).inc()
        _log.info("a message is done with", message=due.id, kind=due.kind, outcome=state, channel=channel)

    async def _give_up(
        self, connection: asyncpg.Connection, lock: asyncio.Lock, due: Due, channel: str | None, fault: str
    ) -> None:
        async with lock:
            await outbox.bury(connection, due, channel, fault)
        self._metrics.ended.labels(due.kind, "DEAD").inc()
        _log.error("a message was given up", message=due.id, kind=due.kind, channel=channel, fault=fault)
