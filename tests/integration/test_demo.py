"""`opd demo` from end to end: on servers of its own and on given ones, held, broken, interrupted."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
import typer
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from redis import Redis

from services.demo import command
from services.settings import Settings
from services.simulator.day import Day
from services.simulator.play import Summary, play
from tests.console import OPD, ROOT, WITHIN_S, opd, opd_here
from tests.servers import Database
from tests.waiting import until

SMALL = ("--doctors=4", "--patients=60", "--departments=2", "--speed=0")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the demo makes its temporary folders."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def mark(temporary: Path) -> dict[str, str]:
    """An environment by which all that a demo started is known."""
    return {"TMPDIR": str(temporary), "DEMO_OF_THIS_TEST": uuid.uuid4().hex}


def alive(mark: dict[str, str]) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and mark.items() <= process.environ().items():
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture
def settings(settings: Settings, postgres_server: Database) -> Settings:
    """Where the servers are, PostgreSQL too."""
    return settings.model_copy(update={"postgres_url": postgres_server.url})


def given(settings: Settings) -> tuple[str, ...]:
    servers = {"kafka": settings.kafka_bootstrap_servers, "redis": settings.redis_url}
    return tuple(f"--{name}={address}" for name, address in {**servers, "postgres": settings.postgres_url}.items())


async def demo_schemas(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [name for (name,) in await connection.fetch("SELECT nspname FROM pg_namespace") if "demo" in name]
    finally:
        await connection.close()


def topics(settings: Settings) -> set[str]:
    return asyncio.run(_topics(settings))


async def _topics(settings: Settings) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        return {name for name in await admin.list_topics() if not name.startswith("__")}
    finally:
        await admin.close()


def keys(settings: Settings) -> list[bytes]:
    with Redis.from_url(settings.redis_url) as redis:
        return sorted(redis.scan_iter())


def test_a_day_on_servers_of_its_own_holds_and_leaves_nothing_but_the_report(
    tmp_path: Path, temporary: Path, mark: dict[str, str]
) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    words = ("demo", "--json", "--open", *SMALL, f"--report={tmp_path / 'report'}")
    done = opd(*words, timeout_s=WITHIN_S, BROWSER=f"{browser}", **mark)

    assert done.returncode == 0, done.stderr
    assert f"The hall's display: {opened.read_text()}" in done.stderr
    assert "/hall?facility=demo-" in opened.read_text()
    assert "\x1b" not in done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said == json.loads((tmp_path / "report" / "report.json").read_text())
    assert said["holds"] is True
    assert all(invariant["holds"] for invariant in said["audit"]["invariants"].values())
    assert said["audit"]["commands"] == sum(said["day"]["commands"].values())
    assert said["audit"]["events"] == sum(said["day"]["events"].values())
    assert said["day"]["over_http"] == 12
    figures = said["figures"]
    ended = figures["ended"]
    assert said["history"] == {
        "tokens": figures["tokens"],
        "seen": ended.get("COMPLETED", 0) + ended.get("CALLED", 0),
        "no_shows": ended.get("NO_SHOW", 0),
        "preemptions": said["audit"]["events_by_type"].get("TokenPreempted", 0),
    }
    assert figures["at_once"] == said["day"]["events"]["TokenConfirmed"]
    assert figures["waitlisted"] == said["day"]["events"].get("TokenWaitlisted", 0)
    assert figures["refusals"] == said["day"]["refusals"]
    assert figures["unreadable"] == said["day"]["dead_letters"] == said["audit"]["dead_letters"] == 6
    assert figures["ended"]["COMPLETED"] == said["day"]["events"]["TokenCompleted"]
    assert "the audit holds" in (tmp_path / "report" / "report.txt").read_text()
    assert list(temporary.iterdir()) == []
    assert alive(mark) == []


def test_a_state_folder_is_kept_and_can_see_another_day(tmp_path: Path, settings: Settings) -> None:
    words = ("demo", "--json", *SMALL, f"--state-dir={tmp_path / 'state'}", f"--report={tmp_path}")
    first = opd(*words, f"--redis={settings.redis_url}")
    assert first.returncode == 0, first.stderr
    assert f"state and logs are kept in {tmp_path / 'state'}" in first.stderr
    assert keys(settings), "what is kept is kept in a given Redis too"

    again = opd(*words)
    assert again.returncode == 0, again.stderr
    commands = [json.loads(done.stdout)["audit"]["commands"] for done in (first, again)]
    assert commands[1] == 2 * commands[0], "the audit is of all that the log holds"
    assert json.loads(again.stdout)["figures"]["ended"] == json.loads(first.stdout)["figures"]["ended"]


def test_given_servers_are_left_as_they_were(
    tmp_path: Path, temporary: Path, settings: Settings, mark: dict[str, str]
) -> None:
    before, schemas = topics(settings), asyncio.run(demo_schemas(settings.postgres_url))
    with Redis.from_url(settings.redis_url) as redis:
        redis.set("another's", "value")
    words = (*SMALL, *given(settings), f"--report={tmp_path}")
    done = opd("demo", *words, timeout_s=WITHIN_S, **mark)

    assert done.returncode == 0, done.stderr
    assert "history: ready after" in done.stderr
    assert asyncio.run(demo_schemas(settings.postgres_url)) == schemas
    assert "patients asked for a token" in done.stdout
    assert "I9 holds" in done.stdout
    assert f"Report: {tmp_path / 'report.txt'}" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "commands decided" in done.stderr
    assert keys(settings) == [b"another's"]
    until(lambda: topics(settings) == before, "the demo's topics are gone")
    assert list(temporary.iterdir()) == []
    assert alive(mark) == []


def test_a_redis_of_another_system_is_refused_and_not_touched(
    tmp_path: Path, settings: Settings, mark: dict[str, str]
) -> None:
    with Redis.from_url(settings.redis_url) as redis:
        redis.hset("opd{3}", "generation", "7")
    done = opd("demo", *SMALL, *given(settings), f"--report={tmp_path}", timeout_s=WITHIN_S, **mark)

    assert done.returncode == 1
    assert done.stderr.startswith("opd: the Redis of --redis holds the state of another system")
    assert len(done.stderr.splitlines()) == 2
    assert done.stdout == ""
    assert keys(settings) == [b"opd{3}"]


@pytest.mark.parametrize(
    ("word", "code", "said"),
    [
        ("--departments=11", 2, "departments: from 1 to 10, not 11"),
        ("--doctors=1", 2, "4 departments need from 4"),
        ("--patients=-1", 2, "patients: not -1"),
        ("--speed=-1", 2, "--speed"),
        ("--redis=redis://127.0.0.1:1", 1, "opd: the Redis of --redis does not answer"),
        ("--redis=redis+cluster://127.0.0.1:1", 1, "opd: the Redis of --redis does not answer"),
        ("--redis=rubbish", 1, "opd: the Redis of --redis does not answer"),
        ("--report=/dev/null/report", 1, "opd: the report cannot be written"),
        ("--state-dir=/dev/null/state", 1, "opd: the state folder /dev/null/state cannot be used"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_started(
    word: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"{tmp_path}")
    done = opd_here("demo", f"--report={tmp_path}", word, COLUMNS="200")
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.glob("opd-demo-*"))


def test_an_event_altered_in_the_log_breaks_the_audit_and_the_demo(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def play_and_forge(day: Day, into: Settings, **options: Any) -> Summary:
        summary = await play(day, into, **options)
        async with AIOKafkaProducer(bootstrap_servers=into.kafka_bootstrap_servers) as producer:
            event = {"specversion": "1.0", "id": "0-0-0", "type": "opd.SlotClosed.v1", "sequence": "1"}
            value = json.dumps({**event, "data": {"date": day.day, "slot": "09:00-10:00"}}).encode()
            await producer.send_and_wait(into.events_topic, value, key=b"f/forged", partition=0)
        return summary

    monkeypatch.setattr(command, "play", play_and_forge)
    with pytest.raises(typer.Exit) as ending:
        command.demo(
            Settings(),
            doctors=4,
            patients=40,
            departments=2,
            speed=0,
            kafka=settings.kafka_bootstrap_servers,
            redis=settings.redis_url,
            postgres=settings.postgres_url,
            state_dir=tmp_path / "state",
            report=tmp_path,
        )

    assert ending.value.exit_code == 1
    said = capsys.readouterr().out
    assert "the audit does not hold: I" in said
    assert " BROKEN " in said
    assert json.loads((tmp_path / "report.json").read_text())["holds"] is False


class Interrupted:
    """A slow demo on given servers, in a process of its own, its stderr in a file."""

    def __init__(self, folder: Path, mark: dict[str, str], *words: str) -> None:
        self.mark = mark
        self._errors = (folder / "errors").open("w+")
        self.process = subprocess.Popen(  # noqa: S603 - our own
            [*OPD, "demo", f"--report={folder}", *words],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=os.environ | mark,
        )

    def stderr(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=WITHIN_S)
        return self.process.returncode, out

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._errors.close()


@pytest.fixture
def slow(tmp_path: Path, settings: Settings, mark: dict[str, str]) -> Iterator[Interrupted]:
    running = Interrupted(tmp_path, mark, "--speed=60", *given(settings))
    yield running
    running.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_day_stops_everything(
    slow: Interrupted, number: int, temporary: Path, settings: Settings
) -> None:
    until(lambda: "commands decided" in slow.stderr(), "the day is played", timeout_s=WITHIN_S)
    code, out = slow.end(number)

    assert code == 130
    assert out == ""
    assert slow.stderr().endswith("stopped; nothing is left running\n")
    assert "Traceback" not in slow.stderr()
    assert alive(slow.mark) == []
    assert list(temporary.iterdir()) == []
    assert keys(settings) == []


def test_ctrl_c_while_the_servers_start_stops_them(tmp_path: Path, temporary: Path, mark: dict[str, str]) -> None:
    running = Interrupted(tmp_path, mark)
    try:
        until(lambda: list(temporary.glob("*/kafka.log")), "kafka starts")
        code, _ = running.end(signal.SIGINT)
        assert code == 130
        assert "Traceback" not in running.stderr()
        assert alive(mark) == []
        assert list(temporary.iterdir()) == []
    finally:
        running.close()


def test_a_part_that_dies_is_named_and_its_log_is_kept(slow: Interrupted, temporary: Path) -> None:
    until(lambda: "commands decided" in slow.stderr(), "the day is played", timeout_s=WITHIN_S)
    (folder,) = temporary.iterdir()
    pid = json.loads((folder / "stack.json").read_text())["pids"]["allocator-2"]
    os.kill(pid, signal.SIGKILL)
    slow.process.wait(WITHIN_S)

    assert slow.process.returncode == 1
    assert "opd: allocator-2 ended by itself, exit code 137" in slow.stderr()
    assert f"state and logs are kept in {folder}" in slow.stderr()
    assert (folder / "allocator-2.log").exists()
    assert alive(slow.mark) == []


def test_on_a_terminal_the_day_is_drawn_and_the_screen_given_back(
    tmp_path: Path, settings: Settings, mark: dict[str, str]
) -> None:
    ours, theirs = pty.openpty()
    running = subprocess.Popen(  # noqa: S603 - our own
        [*OPD, "demo", *SMALL, *given(settings), f"--report={tmp_path}"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env=os.environ | mark | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(theirs)
    shown = b"".join(read_to_the_end(ours)).decode()
    assert running.wait(WITHIN_S) == 0
    assert shown.index("\x1b[?1049h") < shown.index("decisions/s") < shown.rindex("\x1b[?1049l")
    assert shown.rindex("\x1b[?1049l") < shown.index("patients asked for a token")


def read_to_the_end(terminal: int) -> Iterator[bytes]:
    try:
        while said := os.read(terminal, 65_536):
            yield said
    except OSError:  # Linux says EIO when the last process has closed its side
        pass
    finally:
        os.close(terminal)
