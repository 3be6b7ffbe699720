"""A day played through allocators on a real Kafka, and the audit of real topics."""

import asyncio
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from schemas.wire import CONTENT_TYPE
from services.auditor.command import verify
from services.auditor.kafka import AuditError, audit_topics
from services.auditor.records import Kind
from services.settings import Settings
from services.simulator.command import simulate
from services.simulator.day import Day
from services.simulator.play import Happening, SimulationError, What, play
from services.topics import TopicError
from tests.integration.running import RunningAllocator, Sent, create_topics, publish, read_all
from tests.services.memory import MemoryEngine
from tests.services.test_simulator import Played

TODAY = datetime.now(UTC).date().isoformat()
SMALL: dict[str, Any] = {"doctors": 4, "patients": 60, "departments": 2}
KEY = b"blr1/cardiology"


def a_doctor(number: int) -> Sent:
    data = {"facility_id": "blr1", "department_id": "cardiology", "doctor_id": "a", "name": "Dr A", "schedule": []}
    envelope = {"specversion": "1.0", "id": f"c{number}", "source": "test", "type": "opd.RegisterDoctor.v1"}
    return Sent(KEY, json.dumps({**envelope, "data": data}).encode())


def a_history(partitions: int = 2) -> MemoryEngine:
    """What an allocator would have written."""
    engine = MemoryEngine(partitions)
    for number in range(3):
        sent = a_doctor(number)
        engine.take(sent.key, sent.value)
    engine.take(KEY, b"rubbish")
    return engine


def write(settings: Settings, engine: MemoryEngine, *kinds: Kind) -> None:
    asyncio.run(_write(settings, engine, kinds))


async def _write(settings: Settings, engine: MemoryEngine, kinds: tuple[Kind, ...]) -> None:
    topics = {
        Kind.COMMANDS: settings.commands_topic,
        Kind.EVENTS: settings.events_topic,
        Kind.DEAD_LETTERS: settings.dead_letters_topic,
    }
    own_topic = ("opd-source-topic", settings.commands_topic.encode())
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
        for (kind, partition), records in engine.topics.items():
            for record in records if kind in kinds else ():
                await producer.send_and_wait(
                    topics[kind],
                    record.value,
                    key=record.key,
                    partition=partition,
                    timestamp_ms=record.timestamp_ms,
                    headers=[own_topic if name == own_topic[0] else (name, value) for name, value in record.headers],
                )


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


def test_a_day_through_two_allocators_is_proven(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    create_topics(settings)
    with RunningAllocator(settings), RunningAllocator(settings):
        simulate(settings, **SMALL, seed=5, as_json=True)
        summary = printed(capsys)
        verify(settings, as_json=True)
        report = printed(capsys)
        simulate(settings, **SMALL, seed=5)

    assert report["holds"]
    assert report["commands"] == sum(summary["commands"].values())
    assert report["events_by_type"] == summary["events"] | report["events_by_type"]
    assert report["unreadable"] == summary["dead_letters"] == 6
    assert summary["events"]["TokenCompleted"] > 20
    assert summary["waits_minutes"]["p50"] > 0
    assert "the slots were closed already" in capsys.readouterr().out


def test_the_same_day_is_played_to_the_byte_whatever_answers(settings: Settings) -> None:
    create_topics(settings)
    day = Day(5, TODAY, **SMALL)
    seen: list[Happening] = []
    with RunningAllocator(settings):
        summary = asyncio.run(play(day, settings, speed=200_000, on_event=seen.append))
    in_memory = Played(day)

    records = read_all(settings, settings.commands_topic, len(in_memory.sent))
    assert sorted((record.key, record.value or b"") for record in records) == sorted(
        (key, value or b"") for key, value in in_memory.sent
    )
    assert {record.headers for record in records} == {(CONTENT_TYPE,)}
    assert summary.events.total() == len(in_memory.events)
    assert summary.waits_ms == in_memory.waits_ms
    assert [happening.at_ms for happening in seen] == sorted(happening.at_ms for happening in seen)
    assert sum(happening.what is What.COMMAND for happening in seen) == len(in_memory.sent)
    assert sum(happening.answered_ms is not None for happening in seen) == len(in_memory.sent)


def test_verify_holds_while_the_day_goes_on(settings: Settings) -> None:
    create_topics(settings)
    with RunningAllocator(settings):
        playing = threading.Thread(target=asyncio.run, args=[play(Day(6, TODAY, **SMALL), settings)])
        playing.start()
        reports = [audit_topics(settings)]
        while playing.is_alive():
            reports.append(audit_topics(settings))
        playing.join()
        reports.append(audit_topics(settings))

    assert reports[0].commands < reports[-1].commands
    for report in reports:
        assert report.holds, report.breaches


def test_verify_names_what_is_broken_and_fails(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    create_topics(settings, partitions=2)
    engine = a_history()
    partition = engine.partition_of(KEY)
    del engine.topics[Kind.EVENTS, partition][1]
    write(settings, engine, *Kind)

    with pytest.raises(typer.Exit) as ending:
        verify(settings, wait_s=0, metrics=tmp_path / "opd.prom")

    assert ending.value.exit_code == 1
    told = (tmp_path / "opd.prom").read_text(encoding="utf-8")
    assert 'opd_verify_holds{invariant="I3"} 0.0' in told
    assert 'opd_verify_holds{invariant="I1"} 1.0' in told
    assert 'invariant="I9"' not in told, "nobody looked at Redis"
    assert "opd_verify_commands 4.0" in told
    said = capsys.readouterr().out
    with pytest.raises(typer.Exit):
        verify(settings, wait_s=0, processes=2)
    assert capsys.readouterr().out == said
    assert "I3 BROKEN" in said
    assert "a command without a decision" in said
    assert f"{settings.commands_topic}[{partition}]@1" in said
    assert "I1 holds" in said


def test_verify_waits_for_decisions_that_are_on_their_way(settings: Settings) -> None:
    create_topics(settings, partitions=2)
    engine = a_history()
    write(settings, engine, Kind.COMMANDS)
    later = threading.Timer(1, write, [settings, engine, Kind.EVENTS, Kind.DEAD_LETTERS])
    later.start()

    report = audit_topics(settings, wait_s=30)

    later.join()
    assert report.holds, report.breaches
    assert (report.commands, report.events, report.dead_letters) == (4, 3, 1)


def test_verify_names_commands_that_nobody_decides(settings: Settings) -> None:
    create_topics(settings, partitions=2)
    publish(settings, [a_doctor(1)])

    report = audit_topics(settings, wait_s=0.5)

    assert [breach.text for breach in report.breaches.pop(next(iter(report.breaches)))] == [
        "a command without a decision"
    ]


def test_verify_of_empty_topics_holds(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    create_topics(settings, partitions=2)

    verify(settings, wait_s=0)

    assert "Audited 0 commands" in capsys.readouterr().out


def test_verify_refuses_a_log_without_its_beginning(settings: Settings) -> None:
    create_topics(settings, partitions=2)
    engine = a_history()
    write(settings, engine, *Kind)
    partition = engine.partition_of(KEY)
    asyncio.run(trim(settings, TopicPartition(settings.commands_topic, partition), 2))

    with pytest.raises(AuditError, match=rf"\[{partition}\] begins at 2"):
        audit_topics(settings, wait_s=0)


def test_verify_counts_dead_letters_that_have_expired(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    create_topics(settings, partitions=2)
    engine = a_history()
    engine.take(KEY, b"more rubbish")
    write(settings, engine, *Kind)
    partition = engine.partition_of(KEY)
    letters = len(engine.topics[Kind.DEAD_LETTERS, partition])
    asyncio.run(trim(settings, TopicPartition(settings.dead_letters_topic, partition), letters))

    verify(settings, wait_s=0)

    assert f"{letters} more dead letters have expired" in capsys.readouterr().out


async def trim(settings: Settings, where: TopicPartition, before: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_records({where: RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


def test_simulate_without_an_allocator_says_what_is_missing(settings: Settings) -> None:
    create_topics(settings)

    with pytest.raises(SimulationError, match=r"without an answer after 1 s(.|\n)*opd allocator"):
        simulate(settings, **SMALL, timeout=1)


@pytest.mark.parametrize("command", [simulate, verify])
def test_missing_topics_are_named(command: Any, settings: Settings) -> None:
    with pytest.raises(TopicError, match="missing in Kafka: commands"):
        command(settings)


@pytest.mark.parametrize(
    "flags", [{"day": "2026-13-01"}, {"day": "2020-01-01"}, {"departments": 11}, {"speed": "fast"}]
)
def test_a_day_that_cannot_be_is_a_usage_error(flags: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter):
        simulate(Settings(), **flags)
