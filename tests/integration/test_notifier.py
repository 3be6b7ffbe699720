"""`opd notifier` as a process: killed in the middle of a burst, each message arrives once, or at most once more."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic_core import to_json

from services.settings import Settings
from services.vault.contact import Contact
from services.vault.keys import read_master_keys
from services.vault.vault import opening
from tests.console import opd_here
from tests.core.commands import make_command
from tests.history.log import Log
from tests.integration.gateways import Running
from tests.integration.running import create_topics
from tests.integration.test_history import say
from tests.notifier.mails import MailServer, running_mail_server
from tests.servers import Database
from tests.waiting import until

PATIENTS = 40
AT_ONCE = 8
WHERE = {"facility_id": "blr1", "department_id": "cardiology"}
TOMORROW = f"{datetime.now(UTC).date() + timedelta(days=1)}"
POOL = {"date": TOMORROW, "slot": "09:00-10:00"}


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    yield from running_mail_server()


@pytest.fixture
def told(settings: Settings, postgres_server: Database, mail_server: MailServer, tmp_path: Path) -> Settings:
    """The settings of a notifier of this test's own, with patients who consented to mails."""
    create_topics(settings, 2)
    channels = tmp_path / "channels.toml"
    channels.write_bytes(b"[email]\nurl = " + to_json(mail_server.url) + b"\n")
    name = settings.events_topic.replace(".", "_")
    here = settings.model_copy(
        update={
            "postgres_url": postgres_server.url,
            "vault_key_file": tmp_path / "vault.key",
            "vault_schema": f"vault_{name}",
            "notifier_schema": f"notifier_{name}",
            "notifier_channels": channels,
        }
    )
    read_master_keys(tmp_path / "vault.key", make=True)

    async def consent() -> None:
        async with opening(here) as vault:
            for number in range(PATIENTS):
                contact = Contact(name="Asha Rao", email=f"p{number}@example.org", consent=True)
                await vault.keep("blr1", f"p{number}", contact)

    asyncio.run(consent())
    return here


def burst(log: Log) -> None:
    """Forty ask for a token, and get a seat."""
    schedule = [{"slot": POOL["slot"], "capacity": PATIENTS}]
    commands = [make_command("RegisterDoctor", "d", {**WHERE, "doctor_id": "rao", "name": "Rao", "schedule": schedule})]
    commands += [
        make_command("RequestToken", f"c{number}", {**WHERE, **POOL, "patient_id": f"p{number}", "source": "ONLINE"})
        for number in range(PATIENTS)
    ]
    later_ms = round(time.time() * 1000) + 60_000  # than the notifier's beginning
    log.say((command, later_ms) for command in commands)


def test_killed_in_the_middle_of_a_burst_each_message_arrives_and_none_more_than_twice(
    told: Settings, mail_server: MailServer, tmp_path: Path
) -> None:
    log = Log(2)
    notifier = Running("notifier", told, tmp_path)
    try:
        notifier.start()
        notifier.wait()
        mail_server.answers = AT_ONCE
        burst(log)
        say(told, log)
        until(lambda: len(mail_server.mails) > AT_ONCE, "some were told, and more are on their way")
        notifier.process.kill()
        mail_server.answers = PATIENTS * 2
        say(told, log)  # and everything stands in the topic again
        notifier.start()
        notifier.wait()
        until(lambda: len({mail.to for mail in mail_server.mails}) == PATIENTS, "all were told")
        until(lambda: "opd_notifier_ended_total" in _metrics(notifier), "it counts")
        until(lambda: _lag(notifier) == 0, "it read all")
        assert notifier.process.stop() == 0
    finally:
        notifier.stop()

    times = Counter(mail.to for mail in mail_server.mails)
    assert set(times) == {f"p{number}@example.org" for number in range(PATIENTS)}
    assert max(times.values()) <= 2
    assert sum(count == 2 for count in times.values()) <= AT_ONCE, "only what was on its way"
    written = (tmp_path / "notifier.log").read_text()
    assert "example.org" not in written
    assert "Asha" not in written
    assert not any(f"'p{number}'" in written or f'"p{number}"' in written for number in range(PATIENTS))


def _metrics(notifier: Running) -> str:
    return notifier.http.get("/metrics").text


def _lag(notifier: Running) -> float:
    lines = [line for line in _metrics(notifier).splitlines() if line.startswith("opd_notifier_lag_records{")]
    return sum(float(line.split()[-1]) for line in lines) if lines else -1


def test_without_channels_it_says_how_to_have_some() -> None:
    refused = opd_here("notifier")

    assert refused.returncode == 2
    assert refused.stderr == (
        "opd: OPD_NOTIFIER_CHANNELS is not set\ntry: a file of channels, as docs/messages.md shows\n"
    )
