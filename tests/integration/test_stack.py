"""The embedded servers and the folder their state is in."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
from redis import Redis
from redis.exceptions import RedisError

from services.errors import OpdError
from services.settings import Settings
from services.stack import Stack, ValkeyServer
from services.stack import stack as stack_module
from services.stack.ports import free_ports
from services.stack.probes import probe_kafka, probe_postgres, probe_redis
from services.stack.process import PartError
from services.topics import check_topics, ensure_topics
from tests import servers
from tests.console import ROOT
from tests.servers import Database, Kafka


def test_both_answer_their_probes(kafka_server: Kafka, every_redis: str) -> None:
    probe_kafka(kafka_server.address)
    probe_redis(every_redis)


def test_a_valkey_that_was_killed_comes_back_on_its_port_with_what_it_had(
    valkey_server: Database, redis_url: str
) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.set("key", "value")
        redis.execute_command("WAITAOF", 1, 0, 5000)
        valkey_server.kill()
        with pytest.raises(RedisError):
            probe_redis(valkey_server.url)
        valkey_server.start()
        assert redis.get("key") == b"value"


def test_a_postgresql_that_was_killed_comes_back_on_its_port_with_what_it_had(postgres_server: Database) -> None:
    _ask(postgres_server.url, "CREATE TABLE kept AS SELECT 7 AS number")
    postgres_server.kill()
    with pytest.raises(OSError):  # noqa: PT011  whichever
        probe_postgres(postgres_server.url)
    postgres_server.start()
    assert _ask(postgres_server.url, "SELECT number FROM kept") == 7
    _ask(postgres_server.url, "DROP TABLE kept")


@pytest.mark.skipif(servers.KIND != "embedded", reason="who is let in is the embedded PostgreSQL's own")
@pytest.mark.parametrize("somebody", ["postgres@{}/postgres", "postgres@{}/opd", "opd@{}/postgres", "x@{}/opd"])
def test_a_postgresql_of_ours_lets_in_nobody_but_the_owner_of_its_database(
    postgres_server: Database, somebody: str
) -> None:
    address = urlsplit(postgres_server.url).netloc.rpartition("@")[2]
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        _ask(f"postgresql://{somebody.format(address)}", "SELECT 1")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        _ask(postgres_server.url, "COPY (SELECT 1) TO PROGRAM 'cat'")


def _ask(url: str, query: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(ask())


def test_a_kafka_that_was_killed_comes_back_on_its_port_with_what_it_had(
    kafka_server: Kafka, settings: Settings
) -> None:
    created = asyncio.run(ensure_topics(settings))
    kafka_server.kill()
    kafka_server.start()
    assert [topic.name for topic in asyncio.run(check_topics(settings))] == [topic.name for topic in created]


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho 'Fatal: cannot open the append only file'\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(PartError) as failed:
        ValkeyServer(tmp_path, binary=broken).start()
    first, log, hint = str(failed.value).splitlines()
    assert first == "redis ended by itself, exit code 1, before a PING passed"
    assert log == "  redis | Fatal: cannot open the append only file"
    assert hint.startswith(f"try: read {tmp_path / 'redis.log'}")


def test_what_a_killed_run_left_half_written_is_no_obstacle(tmp_path: Path, kafka_server: Kafka) -> None:
    (tmp_path / "kafka.unfinished").mkdir()
    (tmp_path / "kafka.unfinished" / "meta.properties").write_text("version=")
    (tmp_path / "ports.unfinished").write_text('{"kaf')
    (tmp_path / "lock").write_text("999999999\n")
    with Stack(tmp_path) as stack:
        probe_kafka(stack.kafka)
        probe_redis(stack.redis)
        assert stack.kafka != kafka_server.address
    assert not (tmp_path / "kafka.unfinished").exists()


def test_running_servers_are_used_and_left_running(
    tmp_path: Path, kafka_server: Kafka, valkey_server: Database
) -> None:
    with Stack(tmp_path, kafka=kafka_server.address, redis=valkey_server.url) as stack:
        assert (stack.kafka, stack.redis, stack.pids) == (kafka_server.address, valkey_server.url, {})
    probe_kafka(kafka_server.address)
    probe_redis(valkey_server.url)


def test_a_named_server_that_does_not_answer_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_module, "_GIVEN_TIMEOUT_S", 0.1)
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(OpdError, match=f"the kafka at {nowhere} has not answered .*\ntry: .* leave --kafka out"):
        Stack(tmp_path, kafka=nowhere).__enter__()


def test_a_state_folder_has_one_owner(tmp_path: Path, kafka_server: Kafka, valkey_server: Database) -> None:
    def stack() -> Stack:
        return Stack(tmp_path, kafka=kafka_server.address, redis=valkey_server.url)

    with stack(), pytest.raises(OpdError, match=f"{tmp_path} is in use by pid {os.getpid()}: a stack runs there"):
        stack().__enter__()
    with stack():
        pass


def test_the_owner_is_waited_out_when_it_was_killed_and_its_servers_are_just_ending(
    tmp_path: Path, kafka_server: Kafka
) -> None:
    owner = (
        "import sys, pathlib; from services.stack import Stack\n"
        f"with Stack(pathlib.Path({str(tmp_path)!r}), kafka={kafka_server.address!r}) as stack:\n"
        "    print(stack.pids['redis'], flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", owner]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as killed:  # noqa: S603 - ours
        assert killed.stdout is not None
        pid = int(killed.stdout.readline())
        os.kill(pid, signal.SIGSTOP)  # a server that is slow to end: it does not even get to see its SIGTERM
        killed.kill()
    os.kill(pid, signal.SIGCONT)
    with Stack(tmp_path, kafka=kafka_server.address) as stack:
        assert stack.pids["redis"] != pid
        assert not psutil.pid_exists(pid)
