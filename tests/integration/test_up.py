"""`opd up` as a process: what it starts, says, leaves behind and survives."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pydantic_core import to_json

from services.settings import Settings
from services.stack.probes import probe_kafka, probe_postgres, probe_redis
from services.stack.system import environment
from services.topics import check_topics
from tests.console import OPD, ROOT, opd_here
from tests.integration.gateways import WAITS
from tests.notifier.mails import running_mail_server
from tests.servers import Database, Kafka
from tests.waiting import WITHIN_S, until

Up = Callable[..., "Running"]
END_OF_THE_BOX = f"╰{'─' * 78}╯\n"


class Running:
    """An `opd up --json` that is ready."""

    def __init__(self, state: Path, *words: str, **environment: str) -> None:
        self._errors = (state.parent / "errors").open("w+")
        self.process = subprocess.Popen(  # noqa: S603 - our own
            [*OPD, "up", "--json", f"--state-dir={state}", *words],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=os.environ | environment,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.stderr()
        self.described: dict[str, Any] = json.loads(line)
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def stderr(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def end(self, number: int | None = None) -> int:
        """Send a signal, if any, wait for the end of it and all it started, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(WITHIN_S)
        until(lambda: not any(map(_lives, self.children)), "all that it started has ended")
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._errors.close()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def up(state: Path) -> Iterator[Up]:
    """Start `opd up` and wait until it is ready."""
    started: list[Running] = []

    def start(*words: str, **environment: str) -> Running:
        started.append(Running(state, *words, **environment))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_it_describes_what_runs_and_after_a_kill_the_state_alone_is_left_and_gone_on_with(up: Up, state: Path) -> None:
    running = up("--partitions=2")
    assert json.loads((state / "stack.json").read_text()) == running.described
    assert running.described.keys() == {"kafka", "redis", "postgres", "gateway", "board", "pids"}
    assert running.described["pids"].keys() == {
        "kafka",
        "redis",
        "postgres",
        "allocator",
        "history",
        "gateway",
        "board",
    }
    probe_kafka(running.described["kafka"])
    probe_redis(running.described["redis"])
    probe_postgres(running.described["postgres"])
    again = opd_here("up", f"--state-dir={state}")
    assert again.returncode == 1
    assert again.stderr.startswith(f"opd: {state} is in use by pid {running.process.pid}: a stack runs there already\n")
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    assert (state / "stack.json").exists()

    later = up()
    assert later.described["kafka"] == running.described["kafka"]
    assert later.described["postgres"] == running.described["postgres"]
    settings = Settings(kafka_bootstrap_servers=later.described["kafka"])
    assert [topic.partitions for topic in asyncio.run(check_topics(settings))] == [2, 2, 2]
    assert later.end(signal.SIGTERM) == 0
    assert not (state / "stack.json").exists()


def test_named_servers_are_used_and_not_stopped(
    up: Up,
    kafka_server: Kafka,
    valkey_server: Database,
    postgres_server: Database,
    settings: Settings,
) -> None:
    named = {"kafka": kafka_server.address, "redis": valkey_server.url, "postgres": postgres_server.url}
    mine = settings.events_topic.replace(".", "_")
    schemas = {"history_schema": mine, "vault_schema": f"{mine}_vault", "audit_schema": f"{mine}_audit"}
    settings = settings.model_copy(update=schemas)
    words = [f"--{server}={address}" for server, address in named.items()]
    running = up(*words, "--allocators=2", **environment(settings))
    assert {server: running.described[server] for server in named} == named
    assert running.described["pids"].keys() == {"allocator", "allocator-2", "history", "gateway", "board"}
    assert running.end(signal.SIGTERM) == 0
    probe_kafka(kafka_server.address)
    probe_redis(valkey_server.url)
    probe_postgres(postgres_server.url)
    assert len(asyncio.run(check_topics(settings))) == 3


def test_with_channels_a_patient_gets_a_mail_in_their_language(
    up: Up, kafka_server: Kafka, valkey_server: Database, postgres_server: Database, *, settings: Settings, state: Path
) -> None:
    """In a folder where nothing was before, not even the vault's key."""
    mine = settings.events_topic.replace(".", "_")
    schemas = {f"{name}_schema": f"{mine}_{name}" for name in ("history", "vault", "audit", "notifier")}
    with contextmanager(running_mail_server)() as mail_server:
        channels = state.parent / "channels.toml"
        channels.write_bytes(b"[email]\nurl = " + to_json(mail_server.url) + b"\n")
        named = {"kafka": kafka_server.address, "redis": valkey_server.url, "postgres": postgres_server.url}
        words = [f"--{server}={address}" for server, address in named.items()]
        here = settings.model_copy(update={**schemas, "notifier_channels": channels})
        running = up(*words, **environment(here))
        assert "notifier" in running.described["pids"]
        _book_as_a_patient_who_reads_urdu(running.described["gateway"])
        until(lambda: mail_server.mails, "a mail came")
        assert running.end(signal.SIGTERM) == 0
    [mail] = mail_server.mails
    assert (mail.to, mail.subject) == ("asha@example.org", "ٹوکن 1 کی تصدیق ہو گئی")
    assert "Dr Rao" in mail.text
    assert (state / "vault.key").exists()
    assert "made the vault's master key" not in (state / "gateway.log").read_text(), "it was there before all of them"


def _book_as_a_patient_who_reads_urdu(gateway: str) -> None:
    where, slot = {"facility_id": "blr1", "department_id": "cardiology"}, "09:00-10:00"
    tomorrow = f"{datetime.now(UTC).date() + timedelta(days=1)}"
    doctor = {**where, "doctor_id": "dr-rao", "name": "Dr Rao", "schedule": [{"slot": slot, "capacity": 1}]}
    contact = {"language": "ur", "email": "asha@example.org", "consent": True}
    booking = {**where, "date": tomorrow, "slot": slot, "source": "ONLINE", "patient_number": "MRN 17"}
    with httpx.Client(base_url=gateway, headers=WAITS, timeout=60) as http:
        kept = {"facility_id": "blr1", "patient_number": "MRN 17", "contact": contact}
        http.put("/patients/contact", json=kept).raise_for_status()
        http.post("/doctors", json=doctor).raise_for_status()
        assert http.post("/tokens", json=booking).raise_for_status().json()["status"] == "CONFIRMED"


@pytest.mark.parametrize("part", ["allocator", "redis", "postgres"])
def test_a_part_that_dies_is_named_and_ends_it(up: Up, part: str, kafka_server: Kafka, settings: Settings) -> None:
    running = up(f"--kafka={kafka_server.address}", **environment(settings))
    os.kill(running.described["pids"][part], signal.SIGKILL)
    assert running.end() == 1
    assert f"opd: {part} ended by itself, exit code 137\n  {part} | " in running.stderr()


def test_a_person_is_shown_addresses_the_next_steps_and_a_warning(
    state: Path, kafka_server: Kafka, valkey_server: Database, settings: Settings
) -> None:
    words = ["up", f"--state-dir={state}", f"--kafka={kafka_server.address}", f"--redis={valkey_server.url}"]
    with subprocess.Popen(  # noqa: S603 - our own
        [*OPD, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | environment(settings),
    ) as running:
        assert running.stdout is not None
        shown = "".join(iter(running.stdout.readline, END_OF_THE_BOX))
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)
    assert running.returncode == 0
    for wanted in (
        kafka_server.address,
        valkey_server.url,
        str(state),
        "opd simulate",
        "opd verify",
        "/docs",
        "/?facility=blr1#token=",
        "Ctrl-C",
    ):
        assert wanted in shown
    assert "A development stack" in shown
    assert "\x1b" not in shown + told, "plain where there is no terminal"
    assert "allocator: ready after" in told
