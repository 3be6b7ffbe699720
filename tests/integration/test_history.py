"""`opd history` as a process: every event once, whatever is killed, and made anew by one command."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import methodcaller
from typing import Any, Self, cast

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from services.history.compare import compare
from services.history.postgres import connect
from services.settings import Settings
from services.stack.ports import free_ports
from services.stack.system import environment
from tests.console import OPD, ROOT, opd
from tests.core.days import random_commands
from tests.history.log import Log, differences
from tests.integration.running import create_topics
from tests.servers import Database
from tests.waiting import until

PARTITIONS = 3


class RunningHistory:
    """`opd history`, stopped at the end of `with`."""

    def __init__(self, settings: Settings) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        (self.port,) = free_ports(1)
        self.process = subprocess.Popen(  # noqa: S603 - our own
            [*OPD, "history", "--http-port", str(self.port)],
            cwd=ROOT,
            env={**os.environ, **environment(settings), "PYTHONWARNINGS": "error"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.process.kill()
        self.process.wait()
        if error is not None:
            sys.stderr.write(self.log)
        self._log.close()

    @property
    def log(self) -> str:
        """All that it wrote so far."""
        self._log.seek(0)
        return self._log.read().decode()

    def get(self, path: str) -> str:
        """Ask it over HTTP; empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                body: str = answer.read().decode()
                return body
        except OSError:
            return ""

    def wait_until_ready(self) -> None:
        until(lambda: self.get("/health/ready"), "the projector works")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def history(settings: Settings, postgres_server: Database) -> Settings:
    """The settings of a history of this test's own, with topics that are there."""
    create_topics(settings, PARTITIONS)
    schema = settings.events_topic.replace(".", "_")
    return settings.model_copy(update={"postgres_url": postgres_server.url, "history_schema": schema})


def run(word: str, settings: Settings) -> subprocess.CompletedProcess[str]:
    """Run `opd history {word}` to its end."""
    return opd("history", word, **cast("dict[str, Any]", environment(settings)))


def ask(settings: Settings, about: Callable[[asyncpg.Connection], Any]) -> Any:
    async def with_connection() -> Any:
        connection = await connect(settings.postgres_url, settings.history_schema)
        try:
            return await about(connection)
        finally:
            await connection.close()

    return asyncio.run(with_connection())


def say(settings: Settings, log: Log, already: int = 0) -> None:
    """Append the log's records, from this place of each partition on, to the events topic."""

    async def send() -> None:
        servers = settings.kafka_bootstrap_servers
        async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True, linger_ms=5) as producer:
            for partition, records in log.records.items():
                for record in records[already:]:
                    await producer.send(settings.events_topic, record.value, key=record.key, partition=partition)
            await producer.flush()

    asyncio.run(send())


def is_kept(settings: Settings, log: Log) -> bool:
    ends = {partition: len(records) for partition, records in log.records.items()}

    async def positions(connection: asyncpg.Connection) -> bool:
        rows = await connection.fetch("SELECT partition, next_offset FROM positions")
        return {row["partition"]: row["next_offset"] for row in rows} == ends

    try:
        return bool(ask(settings, positions))
    except (OSError, asyncpg.PostgresError):
        return False


def equal(settings: Settings, log: Log) -> bool:
    """PostgreSQL is what follows from the log; where not, what is wrong is shown."""
    wrong = ask(settings, lambda connection: differences(connection, log))
    assert wrong == []
    return True


def test_every_event_is_kept_once_whatever_is_killed_under_load(history: Settings, postgres_server: Database) -> None:
    log = Log(PARTITIONS)
    log.say(random_commands(seed=21, count=9000))
    saying = threading.Thread(target=say, args=(history, log))
    saying.start()
    with RunningHistory(history) as first:
        first.wait_until_ready()
        until(lambda: counted(first, "opd_history_rows_total"), "it began to write")
        first.process.kill()
    with RunningHistory(history) as second, RunningHistory(history) as third:
        until(lambda: second.get("/health/ready") or third.get("/health/ready"), "one of two works")
        postgres_server.kill()
        postgres_server.start()
        saying.join()
        until(lambda: is_kept(history, log), "all is kept")
        assert equal(history, log)
        works, waits = (second, third) if second.get("/health/ready") else (third, second)
        assert works.stop() == 0
        waits.wait_until_ready()
        assert waits.stop() == 0


def test_what_postgres_keeps_is_compared_with_the_log_row_for_row(history: Settings) -> None:
    log = Log(PARTITIONS)
    commands = random_commands(seed=25, count=2000)
    log.say(command for command, _ in zip(commands, range(1500), strict=False))
    with RunningHistory(history) as running:
        running.wait_until_ready()
        say(history, log)
        until(lambda: is_kept(history, log), "all is kept")
        assert running.stop() == 0
    later = Log(PARTITIONS)
    later.records = log.records | {0: [*log.records[0], *log.records[0][-3:]]}
    say(history, later, already=len(log.records[0]))  # what is not kept yet is no fault
    found = asyncio.run(compare(history))
    assert found.fault is None
    assert (found.records, found.rows > found.records) == (sum(map(len, log.records.values())), True)
    token_id = min(log.tokens)
    forgeries = {  # each hides the one before it, whose table is compared later
        "UPDATE tokens SET patient_id = 'x' WHERE token_id = $1": f"tokens {token_id} is not what the log says",
        "DELETE FROM tokens WHERE token_id = $1": f"tokens {token_id} is missing",
        "UPDATE positions SET next_offset = 1000000 WHERE $1 <> ''": "positions are behind the end of",
    }
    for statement, expected in forgeries.items():
        ask(history, methodcaller("execute", statement, token_id))
        assert (asyncio.run(compare(history)).fault or "").startswith(expected)
    schemas = ask(history, lambda connection: connection.fetch("SELECT nspname FROM pg_namespace"))
    assert f"{history.history_schema}_compared" not in {row["nspname"] for row in schemas}


def counted(running: RunningHistory, name: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{name}\S* (\S+)$", running.get("/metrics"), re.MULTILINE))


def test_it_shows_how_far_it_is_and_never_a_patient(history: Settings) -> None:
    log = Log(PARTITIONS)
    log.say(random_commands(seed=22, count=400))
    patients = {data["patient_id"] for data in log.tokens.values()}
    with RunningHistory(history) as running:
        running.wait_until_ready()
        say(history, log)
        until(lambda: is_kept(history, log), "all is kept")
        log.append(0, b"k", b'{"patient_id":"p7"}')
        say(history, _tail(log, 0))
        until(lambda: is_kept(history, log), "the record that is none is passed")
        until(lambda: counted(running, "opd_history_lag_records") == 0, "nothing is left to keep")
        kept = sum(len(records) for records in log.records.values()) - 1
        tables = "token_events|rejections|department_events"
        assert counted(running, rf'opd_history_rows_total{{table="(?:{tables})"}}') == kept
        assert counted(running, "opd_history_working") == 1
        assert counted(running, "opd_history_faults_total") == 1
        assert counted(running, "opd_history_batch_records_sum") == kept + 1
        shown = running.get("/metrics") + running.get("/health/ready")
        assert '"status": "ok"' in running.get("/health/live")
        assert running.stop() == 0
        assert "not as it must be in the events topic" in running.log
        words = set(re.findall(r"[\w-]+", running.log + shown))
        assert len(patients) > 20
        assert words & patients == set()


def _tail(log: Log, partition: int) -> Log:
    """The last record of a partition alone."""
    tail = Log(PARTITIONS)
    tail.records[partition] = log.records[partition][-1:]
    return tail


def test_it_is_made_anew_while_it_is_read_and_goes_on(history: Settings) -> None:
    log = Log(PARTITIONS)
    commands = random_commands(seed=23, count=4000)
    log.say(command for command, _ in zip(commands, range(2500), strict=False))
    with RunningHistory(history) as running:
        running.wait_until_ready()
        say(history, log)
        until(lambda: is_kept(history, log), "all is kept")
        ask(history, lambda connection: connection.execute("UPDATE tokens SET status = 'LOST'"))
        with read_all_the_time(history) as counts:
            rebuilt = run("rebuild", history)
        records = sum(map(len, log.records.values()))
        assert rebuilt.stdout == f"schema {history.history_schema}: made anew from {records:,} records\n", (
            rebuilt.stderr
        )
        assert min(counts) == max(counts) > 0, "it was empty or half there for a reader"
        assert equal(history, log)

        already = {partition: len(records) for partition, records in log.records.items()}
        log.say(commands)
        rest = Log(PARTITIONS)
        rest.records = {partition: records[already[partition] :] for partition, records in log.records.items()}
        say(history, rest)
        until(lambda: is_kept(history, log), "it went on")
        assert equal(history, log)
        assert running.stop() == 0
    schemas = ask(history, lambda connection: connection.fetch("SELECT nspname FROM pg_namespace"))
    mine = [row["nspname"] for row in schemas if row["nspname"].startswith(history.history_schema)]
    assert mine == [history.history_schema]


@contextmanager
def read_all_the_time(settings: Settings) -> Iterator[list[int]]:
    """Count the tokens again and again, as a reader who knows of nothing."""
    counts: list[int] = []
    enough = threading.Event()

    async def read(connection: asyncpg.Connection) -> None:
        while not enough.is_set():
            counts.append(await connection.fetchval("SELECT count(*) FROM tokens"))

    reader = threading.Thread(target=ask, args=(settings, read))
    reader.start()
    until(lambda: counts, "the reader reads")
    try:
        yield counts
    finally:
        enough.set()
        reader.join()


def test_a_database_of_another_log_is_refused_until_it_is_made_anew(history: Settings) -> None:
    run("migrate", history)
    ask(history, lambda c: c.execute("INSERT INTO positions VALUES (0, $1, 7, NULL, 5, 0)", history.events_topic))
    with RunningHistory(history) as refused:
        assert refused.process.wait(60) == 1
        assert "opd: this PostgreSQL holds the history of another log: " in refused.log
        assert "[0] goes from 0 to 0, and PostgreSQL wants to go on at 7\n" in refused.log
    log = Log(PARTITIONS)
    log.say(random_commands(seed=24, count=100))
    say(history, log)
    ask(history, lambda c: c.execute("UPDATE positions SET next_offset = 1, last_digest = '\\x00'"))
    with RunningHistory(history) as refused:
        assert refused.process.wait(60) == 1
        assert "[0]@0 is another one than was kept\n" in refused.log
    assert run("rebuild", history).returncode == 0
    assert equal(history, log)


def test_a_postgresql_that_is_not_there_is_one_clear_error(history: Settings) -> None:
    nowhere = f"postgresql://opd:secret@127.0.0.1:{free_ports(1)[0]}/opd"
    refused = run("migrate", history.model_copy(update={"postgres_url": nowhere}))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"opd: no PostgreSQL at {nowhere.replace('secret', '***')}: ")
    assert "try: look whether it runs" in refused.stderr
    assert "secret" not in refused.stderr
