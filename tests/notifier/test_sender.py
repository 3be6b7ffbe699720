"""Who is told, when, how, and what happens if a channel takes nothing."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from services.notifier import outbox, sender
from services.notifier.channels import Channel
from services.notifier.metrics import NotifierMetrics
from services.notifier.sender import LATER_AFTER, Sender
from services.vault.contact import Contact
from services.vault.keys import Unreadable
from services.vault.vault import VaultUnavailable
from tests.notifier.conftest import InOutbox
from tests.notifier.mails import MailServer
from tests.notifier.story import Story, states, token

NINE = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class Clock:
    def __init__(self, now: datetime = NINE) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Known:
    """Contacts by patient."""

    def __init__(self, **contacts: Contact) -> None:
        self.contacts = contacts
        self.is_away = False
        self.asked = 0

    async def contact(self, facility_id: str, patient_id: str) -> Contact | None:
        assert facility_id == "blr1"
        self.asked += 1
        if self.is_away:
            raise VaultUnavailable
        return self.contacts.get(patient_id)


def reached(name: str = "p1", *, consent: bool = True, language: str = "en", quiet: str | None = None) -> Contact:
    contact = Contact(email=f"{name}@example.org", consent=consent, language=language)
    return contact.model_copy(update={"quiet_hours": quiet})


def a_sender(contacts: Known, channels: Sequence[Channel], clock: Clock, time_zone: str = "UTC") -> Sender:
    return Sender(contacts, channels, time_zone, NotifierMetrics(), asyncio.Event(), now=clock)


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_TRIED_AGAIN_AFTER_S", 0.001)


def test_a_patient_is_told_in_their_language_by_the_first_channel_that_reaches_them(
    in_outbox: InOutbox, mail_server: MailServer
) -> None:
    sms = Channel("sms", "json://127.0.0.1:1/{phone}", "phone")

    async def run(connection: asyncpg.Connection) -> None:
        await Story().open(3, "dr-rao").book("p1", "p2").told_to(connection)
        contacts = Known(p1=reached("p1"), p2=reached("p2", language="hi"))
        assert await a_sender(contacts, [sms, mail_server.channel], Clock()).send_due(connection) == 2
        assert {state for _, _, state in await states(connection)} == {"SENT"}
        assert await connection.fetchval("SELECT DISTINCT channel FROM messages") == "email"

    in_outbox(run)
    english, hindi = sorted(mail_server.mails, key=lambda mail: mail.to)
    assert (english.to, english.subject) == ("p1@example.org", "Token 1 confirmed")
    assert "token 1 in cardiology with Dr Rao, 2026-11-23, 09:00-10:00" in " ".join(english.text.split())
    assert (hindi.to, hindi.subject) == ("p2@example.org", "टोकन 2 पक्का हुआ")


def test_who_did_not_consent_or_cannot_be_reached_is_not_told(in_outbox: InOutbox, mail_server: MailServer) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        await Story().open(9).book("p1", "p2", "p3").told_to(connection)
        contacts = Known(p1=reached(consent=False), p3=Contact(phone="+918041234567", consent=True))
        await a_sender(contacts, [mail_server.channel], Clock()).send_due(connection)
        assert [state for _, _, state in await states(connection)] == ["NO_CONSENT", "NO_CONTACT", "NO_CHANNEL"]

    in_outbox(run)
    assert mail_server.mails == []


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        ("22:00-07:00", "2026-11-23T00:30", "2026-11-23T07:00"),
        ("22:00-07:00", "2026-11-23T23:00", "2026-11-24T07:00"),
        ("13:00-14:30", "2026-11-23T13:00", "2026-11-23T14:30"),
        ("22:00-07:00", "2026-11-23T07:00", None),
        ("13:00-14:30", "2026-11-23T12:59", None),
        ("13:00-13:00", "2026-11-23T13:00", None),
    ],
)
def test_quiet_hours_are_those_of_the_hospitals_clocks(
    in_outbox: InOutbox, mail_server: MailServer, quiet: str, now: str, until: str | None
) -> None:
    """Kolkata is five and a half hours ahead of UTC."""

    def utc(local: str) -> datetime:
        return datetime.fromisoformat(f"{local}+05:30").astimezone(UTC)

    async def run(connection: asyncpg.Connection) -> None:
        await Story().open(3).book("p1").told_to(connection)
        clock, contacts = Clock(utc(now)), Known(p1=reached(quiet=quiet))
        sending = a_sender(contacts, [mail_server.channel], clock, "Asia/Kolkata")
        await sending.send_due(connection)
        assert len(mail_server.mails) == (until is None)
        assert await sending.send_due(connection) == 0
        if until is not None:
            assert await connection.fetchval("SELECT not_before FROM messages") == utc(until)

    in_outbox(run)


def test_what_was_deferred_is_sent_when_it_is_time_unless_something_newer_came(
    in_outbox: InOutbox, mail_server: MailServer
) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        story = Story().open(3).book("p1", "p2")
        await story.told_to(connection)
        clock = Clock(NINE.replace(hour=5))
        contacts = Known(p1=reached("p1", quiet="22:00-07:00"), p2=reached("p2", quiet="22:00-07:00"))
        sending = a_sender(contacts, [mail_server.channel], clock)
        await sending.send_due(connection)
        await story.ask("CancelToken", token_id=token(1)).told_to(connection)
        await sending.send_due(connection)
        assert mail_server.mails == []
        clock.now = NINE.replace(hour=7)
        await sending.send_due(connection)

    in_outbox(run)
    told = {(mail.to, mail.subject) for mail in mail_server.mails}
    assert told == {("p1@example.org", "Token 1 cancelled"), ("p2@example.org", "Token 2 confirmed")}
    assert len(mail_server.mails) == 2


def test_what_is_over_is_not_told(in_outbox: InOutbox, mail_server: MailServer) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        await Story().open(9).book("p1", "p2").check_in(1, 2).call_next().told_to(connection)
        clock = Clock(NINE + timedelta(minutes=20))
        sending = a_sender(Known(p2=reached("p2"), p3=reached("p3")), [mail_server.channel], clock)
        await sending.send_due(connection)
        assert await states(connection) == [("soon", "p2", "TOO_LATE")]
        late = Story()
        late._taken = 0
        await connection.execute("UPDATE positions SET next_offset = 0")
        await late.open(9).book("p3").told_to(connection)
        clock.now = NINE + timedelta(days=1)
        await sending.send_due(connection)
        assert (await states(connection))[-1] == ("confirmed", "p3", "TOO_LATE")

    in_outbox(run)
    assert mail_server.mails == []


def test_a_channel_that_takes_nothing_is_tried_later_and_then_given_up(
    in_outbox: InOutbox, mail_server: MailServer
) -> None:
    mail_server.refuses = True

    async def run(connection: asyncpg.Connection) -> None:
        await Story().open(3).book("p1").told_to(connection)
        clock = Clock()
        sending = a_sender(Known(p1=reached()), [mail_server.channel], clock)
        for later in LATER_AFTER:
            assert await sending.send_due(connection) == 1
            assert await sending.send_due(connection) == 0
            clock.now += later
        await sending.send_due(connection)
        [dead] = await outbox.dead(connection, 10)
        assert (dead["channel"], dead["fault"]) == ("email", f"not taken, tried {len(LATER_AFTER) + 1} times")
        mail_server.refuses = False
        await outbox.resend(connection, [dead["id"]])
        await sending.send_due(connection)
        assert await states(connection) == [("confirmed", "p1", "SENT")]

    in_outbox(run)
    assert len(mail_server.mails) == 1


def test_without_the_vault_nobody_is_told_and_nothing_is_lost(in_outbox: InOutbox, mail_server: MailServer) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        await Story().open(30).book(*(f"p{number}" for number in range(20))).told_to(connection)
        clock, contacts = Clock(), Known(**{f"p{number}": reached(f"p{number}") for number in range(20)})
        contacts.is_away = True
        sending = a_sender(contacts, [mail_server.channel], clock)
        for _ in range(3600):
            await sending.send_due(connection)
            clock.now += timedelta(seconds=1)
        assert 60 <= contacts.asked <= 75, "soon at first, and once a minute for as long as it takes"
        contacts.is_away = False
        clock.now += timedelta(minutes=1)
        assert [await sending.send_due(connection) for _ in range(5)] == [1, 8, 8, 3, 0]
        assert {state for _, _, state in await states(connection)} == {"SENT"}
        assert await connection.fetchval("SELECT max(attempts) FROM messages") == 1

    in_outbox(run)
    assert len(mail_server.mails) == 20


def test_a_contact_that_cannot_be_read_is_a_dead_letter_and_keeps_nobody_waiting(
    in_outbox: InOutbox, mail_server: MailServer
) -> None:
    class OfAnotherKey(Known):
        async def contact(self, facility_id: str, patient_id: str) -> Contact | None:
            if patient_id == "p1":
                raise Unreadable
            return await super().contact(facility_id, patient_id)

    async def run(connection: asyncpg.Connection) -> None:
        await Story().open(3).book("p1", "p2").told_to(connection)
        sending = a_sender(OfAnotherKey(p2=reached("p2")), [mail_server.channel], Clock())
        assert await sending.send_due(connection) == 2
        [dead] = await outbox.dead(connection, 10)
        assert (dead["token_id"], dead["fault"]) == (token(1), "the contact cannot be read: is it the vault's key?")
        counted = sending._metrics.registry.get_sample_value
        ended = [counted("opd_notifier_ended_total", {"kind": "confirmed", "outcome": at}) for at in ("DEAD", "SENT")]
        assert ended == [1, 1]

    in_outbox(run)


def test_a_vault_that_was_away_once_is_asked_soon_when_it_is_away_again(
    in_outbox: InOutbox, mail_server: MailServer
) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        story, clock, contacts = Story().open(9), Clock(), Known(p1=reached(), p2=reached())
        sending = a_sender(contacts, [mail_server.channel], clock)

        async def seconds_until_told() -> int:
            """Let the vault be away while it is asked six times."""
            contacts.is_away, left, began = True, contacts.asked + 6, clock.now
            while contacts.asked <= left:
                contacts.is_away = contacts.asked < left
                await sending.send_due(connection)
                clock.now += timedelta(seconds=1)
            return (clock.now - began).seconds

        await story.book("p1").told_to(connection)
        first = await seconds_until_told()
        await story.book("p2").told_to(connection)
        assert await seconds_until_told() == first
        assert {state for _, _, state in await states(connection)} == {"SENT"}

    in_outbox(run)
