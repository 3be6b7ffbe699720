"""A whole system behind TLS, passwords and access lists, each service with the rights of docs/operations.md alone."""

import asyncio
import re
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import ConnectionError as NotConnected

from services.auditor.kafka import audit_topics
from services.dead_letters.command import list_letters, replay
from services.gateway.limits import _Storage
from services.history.postgres import NoPostgres, connect, wait_for_postgres
from services.kafka import kafka_client
from services.rebuild import rebuild
from services.redis import connect_redis
from services.settings import Settings
from services.simulator.day import Day
from services.simulator.play import play
from services.snapshots.command import restore, snapshot, trim
from services.stack.system import environment
from services.topics import TopicError, check_topics, ensure_topics
from tests.conftest import REDIS_SERVER
from tests.console import opd
from tests.integration.gateways import Running
from tests.integration.secured import Secured, documented_grants, documented_users, secured_servers
from tests.waiting import until

PARTITIONS = 2
TODAY = datetime.now(UTC).date().isoformat()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_servers(tmp_path_factory.mktemp("secured"), REDIS_SERVER) as servers:
        run(ensure_topics(servers.settings("opd-topics"), partitions=PARTITIONS))
        yield servers


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it as the services do; asyncio's own loop warns of TLS connections that were not yet told good-bye."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def secrets_of(secured: Secured) -> list[str]:
    files = {flags[name] for flags in secured.flags.values() for name in flags if name.endswith("password_file")}
    return [Path(file).read_text().strip() for file in files]


def test_a_day_goes_through_with_the_documented_rights_and_no_secret_is_told(
    secured: Secured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as cleanup:
        services = [
            Running(name, secured.said_to(f"opd-{name}").model_copy(update={"rate_limits": "on"}), tmp_path)
            for name in ("allocator", "history", "gateway")
        ]
        for service in services:
            cleanup.callback(service.stop)
            service.start()
        for service in services:
            service.wait()
        day = Day(seed=1, day=TODAY, doctors=3, patients=30, departments=2, facility_id="blr1", run="secured")
        played = run(play(day, secured.settings("opd-simulate")))
        assert played.dead_letters > 0

        letters = secured.settings("opd-dead-letters")
        list_letters(letters)
        replay(letters, everything=True, force=True)
        assert audit_topics(secured.settings("opd-audit"), redis=True).holds

        told = ""
        saving = secured.settings("opd-snapshot")
        snapshot(saving, out=tmp_path / "snapshots", every=True)
        rebuild(saving, every=True)
        until(lambda: audit_topics(secured.settings("opd-audit"), redis=True).holds, "it is rebuilt")
        partition = a_token_is_booked(services[2])
        run(the_audits_role_gets_its_rights(secured))
        told += all_is_audited(secured)
        trim(secured.settings("opd-trim"), snapshot=tmp_path / "snapshots", partition=[partition])
        command_lines = [Path(f"/proc/{service.process.pid}/cmdline") for service in services]
        told += "".join(line.read_text() for line in command_lines if line.exists())
    with Redis.from_url(secured.redis.url) as redis:
        redis.flushall()
    restore(saving, folder=tmp_path / "snapshots", every=True)
    told += "".join(log.read_text() for log in tmp_path.glob("*.log")) + "".join(capsys.readouterr())
    assert "restored to offset" in told
    assert "NoPermissionError" not in told
    assert not [secret for secret in secrets_of(secured) if secret in told]


def a_token_is_booked(gateway: Running) -> int:
    """Book at the gateway, read from the history what came of it, and give the partition."""
    where = {"facility_id": "blr1", "department_id": "secured"}
    doctor = {**where, "doctor_id": "dr-rao", "name": "Dr Rao", "schedule": [{"slot": "00:00-24:00", "capacity": 1}]}
    assert gateway.http.post("/doctors", json=doctor).status_code == 200
    pool = {**where, "date": TODAY, "slot": "00:00-24:00", "patient_id": "p-1", "source": "ONLINE"}
    booked = gateway.http.post("/tokens", json=pool)
    assert booked.status_code == 201
    position = booked.headers["OPD-Position"]
    until(
        lambda: gateway.http.get(booked.headers["location"], headers={"OPD-Position": position}).status_code == 200,
        "the history has it",
    )
    assert gateway.http.get(booked.headers["location"]).json()["status"] == "CONFIRMED"
    return int(position.partition("-")[0])


async def the_audits_role_gets_its_rights(secured: Secured) -> None:
    connection = await connect(secured.settings("opd-history").postgres_url, "public")
    try:
        for grant in documented_grants():
            await connection.execute(re.sub(r"SCHEMA opd\b", f"SCHEMA {secured.names.history_schema}", grant))
    finally:
        await connection.close()


def all_is_audited(secured: Secured) -> str:
    """Run what the nightly audit runs, and give what it said."""
    settings: dict[str, Any] = environment(secured.said_to("opd-audit"))
    audit = opd("verify", "--redis", "--history", "--audit", **settings)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert "PostgreSQL equals the log" in audit.stdout
    assert "the audit trail is whole" in audit.stdout
    return audit.stdout + audit.stderr


@pytest.mark.parametrize(
    ("flags", "because"),
    [
        ({"kafka_ca_file": "OTHER_CA"}, "certificate"),
        ({"kafka_username": "opd-nobody"}, "authentication"),
        ({"kafka_password_file": "WRONG"}, "authentication"),
    ],
)
def test_kafka_lets_nobody_else_in_and_is_no_other_one(
    flags: dict[str, str], because: str, secured: Secured, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("canary-of-a-password")
    files = {"OTHER_CA": str(secured.certificates.other_ca), "WRONG": str(wrong)}
    settings = secured.settings("opd-allocator", **{name: files.get(value, value) for name, value in flags.items()})
    with pytest.raises(TopicError) as refused:
        run(check_topics(settings))
    assert because in str(refused.value).lower()
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("user", ["opd-history", "opd-gateway", "opd-allocator", "opd-snapshot", "opd-notifier"])
def test_a_user_of_kafka_may_read_and_write_no_other_topic(user: str, secured: Secured) -> None:
    settings, allowed = secured.settings(user), documented_users()[user]
    topics = [settings.commands_topic, settings.events_topic, settings.dead_letters_topic]
    readable, writable = run(_what_it_may(settings, topics))
    rights = dict(zip(topics, allowed, strict=False))
    assert readable == {topic for topic in topics if "Read" in rights[topic]}
    assert writable <= {topic for topic in topics if "Write" in rights[topic]}
    assert settings.dead_letters_topic not in readable or user == "opd-allocator"


async def _what_it_may(settings: Settings, topics: list[str]) -> tuple[set[str], set[str]]:
    readable, writable = set(topics), set(topics)
    for topic in topics:
        consumer = AIOKafkaConsumer(**kafka_client(settings), auto_offset_reset="earliest")
        await consumer.start()
        place = TopicPartition(topic, 0)
        try:
            consumer.assign([place])
            await consumer.getmany(timeout_ms=1000)
        except TopicAuthorizationFailedError:
            readable.remove(topic)
        finally:
            consumer.pause(place)  # else it asks again while it closes, and TLS may wait 30 s for its last word
            await consumer.stop()
    async with AIOKafkaProducer(**kafka_client(settings)) as producer:
        for topic in topics:
            try:
                await producer.send_and_wait(topic, b"not JSON", partition=0)
            except TopicAuthorizationFailedError:
                writable.remove(topic)
    return readable, writable


def test_redis_lets_its_user_do_no_more_than_the_engine_does(secured: Secured) -> None:
    url = secured.settings("opd-allocator").redis_url
    with Redis.from_url(url) as redis:
        assert redis.hget("opd{0}", "version") is not None or redis.ping()
        for words in (["FLUSHALL"], ["KEYS", "*"], ["CONFIG", "GET", "*"], ["HGET", "another", "x"], ["SHUTDOWN"]):
            with pytest.raises(NoPermissionError):
                redis.execute_command(*words)


def test_redis_lets_the_gateway_count_requests_and_see_nothing_else(secured: Secured) -> None:
    url = secured.settings("opd-gateway").redis_url

    async def count() -> tuple[int, float]:
        redis = connect_redis(url)
        try:
            storage = _Storage(redis)
            return await storage.incr("somebody", 60), await storage.get_expiry("somebody")
        finally:
            await redis.aclose()

    counted, until_s = run(count())
    assert counted == 1
    assert until_s > 0
    with Redis.from_url(url) as redis, pytest.raises(NoPermissionError):
        redis.execute_command("HGET", "opd{0}", "applied")


def test_redis_lets_nobody_else_in_and_is_no_other_one(secured: Secured) -> None:
    url = secured.settings("opd-allocator").redis_url
    with Redis.from_url(url.replace("opd:", "opd:x", 1)) as redis, pytest.raises(AuthenticationError):
        redis.ping()
    other = url.replace(str(secured.certificates.ca), str(secured.certificates.other_ca))
    with Redis.from_url(other) as redis, pytest.raises(NotConnected, match="certificate"):
        redis.ping()


def test_postgres_lets_nobody_else_in_and_is_no_other_one(secured: Secured) -> None:
    url = secured.settings("opd-history").postgres_url

    run(wait_for_postgres(url, timeout_s=0))
    with pytest.raises(NoPostgres, match="password authentication failed"):
        run(wait_for_postgres(secured.postgres_in_plain.replace("opd@", "opd:x@"), timeout_s=0))
    other = url.replace(str(secured.certificates.ca), str(secured.certificates.other_ca))
    with pytest.raises(NoPostgres, match="certificate"):
        run(wait_for_postgres(other, timeout_s=0))
