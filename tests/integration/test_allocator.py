"""The allocator as a process, between a real Kafka and a real Redis."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiokafka.partitioner import murmur2
from pydantic_core import from_json
from redis import Redis

from schemas.wire import CONTENT_TYPE, command_key
from services.auditor.kafka import audit_topics
from services.auditor.report import Report
from services.settings import Settings
from services.stack.system import environment
from tests.core.conformance import CASES_FOLDER
from tests.core.days import random_commands
from tests.integration.running import (
    RunningAllocator,
    Sent,
    create_topics,
    publish,
    read_all,
)
from tests.waiting import WITHIN_S, until

NOW_MS = 1_795_392_000_000


def said(department: str, command_type: str, number: int, **data: Any) -> Sent:
    value = {
        "specversion": "1.0",
        "id": f"c{number}",
        "source": "test",
        "type": f"opd.{command_type}.v1",
        "data": {"facility_id": "h", "department_id": department, **data},
    }
    return Sent(f"h/{department}".encode(), json.dumps(value).encode(), NOW_MS)


def a_doctor(department: str) -> Sent:
    schedule = [{"slot": "09:00-10:00", "capacity": 1}]
    return said(department, "RegisterDoctor", 0, doctor_id="a", name="Dr A", schedule=schedule)


def a_request(department: str, number: int, patient_id: str) -> Sent:
    place = {"date": "2026-11-23", "slot": "09:00-10:00"}
    return said(department, "RequestToken", number, **place, patient_id=patient_id, source="ONLINE")


def a_random_day(seed: int, count: int) -> list[Sent]:
    return [
        Sent(command_key(command), command.model_dump_json(exclude_unset=True).encode(), timestamp_ms)
        for command, timestamp_ms in random_commands(seed, count)
    ]


def some_unreadable(rng: Random) -> Sent:
    return Sent(
        rng.choice([b"h/d", b"", None]), rng.choice([b"{", b"\xff", b"[]", b'{"specversion":"1.0"}', None]), NOW_MS
    )


def audited(settings: Settings) -> Report:
    report = audit_topics(settings, wait_s=60)
    assert report.holds, json.dumps(report.as_json(), indent=1)
    return report


def applied(settings: Settings, partition: int) -> int:
    with Redis.from_url(settings.redis_url) as redis:
        return int(redis.hget(f"opd{{{partition}}}", "applied") or -1)


def test_conformance_cases_through_the_running_allocator(settings: Settings) -> None:
    create_topics(settings)
    sent: list[Sent] = []
    expected: dict[str, list[Any]] = {}
    for number, path in enumerate(sorted(CASES_FOLDER.iterdir())):
        # The cases share a department: give each a facility of its own, in commands, keys and events alike.
        case = json.loads(path.read_text(encoding="utf-8").replace("blr1", f"case{number}"))
        key = f"case{number}/cardiology"
        for step in case["steps"]:
            timestamp_ms = step.get("record_timestamp_ms", case["record_timestamp_ms"])
            sent.append(Sent(key.encode(), json.dumps(step["command"]).encode(), timestamp_ms))
            expected.setdefault(key, []).extend(step["events"])
    publish(settings, sent)

    with RunningAllocator(settings):
        records = read_all(settings, settings.events_topic, sum(map(len, expected.values())))

    for key, events in expected.items():
        own = [from_json(record.value) for record in records if record.key == key.encode()]
        assert [(event["type"], event["data"]) for event in own] == [(event["type"], event["data"]) for event in events]
        assert [event["sequence"] for event in own] == [f"{number:016d}" for number in range(1, len(own) + 1)]
    assert {record.headers for record in records} == {(CONTENT_TYPE,)}
    assert all(record.partition == (murmur2(record.key) & 0x7FFFFFFF) % 4 for record in records)
    audited(settings)


def test_unreadable_records_become_dead_letters_and_their_neighbours_are_decided(settings: Settings) -> None:
    create_topics(settings, partitions=1)
    bad = [
        Sent(b"h/d", b"not json", NOW_MS, [("trace", b"1"), ("opd-error", b"old")]),
        Sent(b"h/d", None, NOW_MS),
        Sent(None, b'{"patient_id":"p-secret"}', NOW_MS),
        Sent(b"h/other", a_request("d", 7, "p7").value, NOW_MS),
        Sent(b"h/d", b'{"x":"' + b"a" * 16_384 + b'"}', NOW_MS),
    ]
    publish(settings, [a_doctor("d"), *bad, a_request("d", 1, "p1")])

    with RunningAllocator(settings) as allocator:
        letters = read_all(settings, settings.dead_letters_topic, len(bad))
        events = read_all(settings, settings.events_topic, 2)
        assert "p-secret" not in allocator.log

    assert [from_json(event.value)["type"][4:-3] for event in events] == ["DoctorRegistered", "TokenConfirmed"]
    assert [(letter.key, letter.value) for letter in letters] == [(sent.key, sent.value) for sent in bad]
    for offset, (letter, sent) in enumerate(zip(letters, bad, strict=True), start=1):
        given = tuple(sent.headers)
        assert letter.headers[: len(given)] == given
        appended = dict(letter.headers[len(given) :])
        assert appended.pop("opd-error").decode()
        assert appended == {
            "opd-source-topic": settings.commands_topic.encode(),
            "opd-source-partition": b"0",
            "opd-source-offset": str(offset).encode(),
        }
        assert "p-secret" not in str(letter.headers)
    audited(settings)


def test_a_record_in_another_partition_than_its_key_s_is_unreadable(settings: Settings) -> None:
    create_topics(settings, partitions=2)
    own = (murmur2(b"h/d") & 0x7FFFFFFF) % 2
    publish(settings, [a_doctor("d"), a_doctor("d")._replace(partition=1 - own)])
    with RunningAllocator(settings):
        letters = read_all(settings, settings.dead_letters_topic, 1)
        events = read_all(settings, settings.events_topic, 1)
    assert [letter.partition for letter in letters] == [1 - own]
    assert [event.partition for event in events] == [own]


def test_two_allocators_share_a_day_and_hand_it_over(settings: Settings) -> None:
    create_topics(settings)
    rng = Random(7)
    day = a_random_day(7, 6000)
    for at in range(200, 6000, 400):
        day.insert(at, some_unreadable(rng))
    thirds = [day[:2000], day[2000:4000], day[4000:]]

    with RunningAllocator(settings) as first:
        publish(settings, thirds[0])
        with RunningAllocator(settings) as second:
            until(lambda: len(first.partitions) == len(second.partitions) == 2, "the partitions are shared")
            publish(settings, thirds[1])
            assert first.stop() == 0
            publish(settings, thirds[2])
            report = audited(settings)
            assert len(second.partitions) == 4
            assert second.stop() == 0

    assert report.commands == len(day)
    assert report.dead_letters >= 14
    assert report.repeats == 0


def workers_of(allocator: RunningAllocator) -> list[int]:
    return [int(pid) for pid in re.findall(r"worker started .*pid=(\d+)", allocator.log)]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_workers_share_the_partitions_and_end_together(settings: Settings) -> None:
    create_topics(settings)
    day = a_random_day(11, 3000)
    publish(settings, day)
    with RunningAllocator(settings, "--workers", "2") as allocator:
        until(lambda: len(allocator.partitions) == 2, "each has its half")
        report = audited(settings)
        assert (report.commands, report.repeats) == (len(day), 0)
        assert allocator.stop() == 0


def test_a_worker_that_dies_ends_the_others(settings: Settings) -> None:
    create_topics(settings)
    with RunningAllocator(settings, "--workers", "2") as allocator:
        workers = workers_of(allocator)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        assert allocator.process.wait(WITHIN_S) == 1
        assert "ended by itself" in allocator.log
        assert all(is_gone(worker) for worker in workers)


def test_workers_do_not_outlive_a_killed_parent(settings: Settings) -> None:
    create_topics(settings)
    with RunningAllocator(settings, "--workers", "2") as allocator:
        workers = workers_of(allocator)
        allocator.kill()
        until(lambda: all(is_gone(worker) for worker in workers), "the workers are gone")


# However quick or slow a machine is: what a test sees of it from outside may be over before it can kill.
KILLED_WITH_ITS_SECOND_BATCH_DECIDED = """
import os, signal
from allocation_core.store import SlotStore

decide, decided = SlotStore.decide, []

async def decide_and_die(*arguments, **marks):
    decided.append(await decide(*arguments, **marks))
    if len(decided) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return decided[-1]

SlotStore.decide = decide_and_die
"""


def test_killed_under_load_nothing_is_lost_and_nothing_decided_twice(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLED_WITH_ITS_SECOND_BATCH_DECIDED)
    create_topics(settings)
    day = a_random_day(8, 6000)
    publish(settings, day)
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path))
        with RunningAllocator(settings, wait=False) as doomed:
            assert doomed.process.wait(WITHIN_S) == -signal.SIGKILL
    decided = sum(applied(settings, partition) + 1 for partition in range(4))
    assert 0 < decided < len(day) - 500, "it was killed in the middle"
    with RunningAllocator(settings):
        report = audited(settings)
    assert report.commands == len(day)


def test_a_flushed_redis_is_rebuilt_from_the_log_and_nothing_said_again(settings: Settings) -> None:
    create_topics(settings)
    day = a_random_day(9, 4000)
    with RunningAllocator(settings) as allocator:
        publish(settings, day[:2000])
        audited(settings)
        with Redis.from_url(settings.redis_url) as redis:
            redis.flushall()
        publish(settings, day[2000:])
        report = audited(settings)
        assert "taking the partition again" in allocator.log
    assert (report.commands, report.repeats) == (len(day), 0)


def test_a_half_written_state_is_rebuilt(settings: Settings) -> None:
    create_topics(settings, partitions=1)
    publish(settings, a_random_day(10, 1000))
    with RunningAllocator(settings) as allocator:
        until(lambda: applied(settings, 0) == 999, "the day is decided")
        with Redis.from_url(settings.redis_url) as redis:
            redis.hset("opd{0}", "half", "1")
            redis.delete("opd{0}:d")
        publish(settings, [a_doctor("after")])
        until(lambda: applied(settings, 0) == 1000, "it goes on")
        assert "half written" in allocator.log
    audited(settings)


def test_health_and_metrics_say_how_it_is(settings: Settings) -> None:
    create_topics(settings)
    publish(settings, [a_doctor("d"), a_request("d", 1, "p1"), some_unreadable(Random(1))])
    with RunningAllocator(settings) as allocator:
        read_all(settings, settings.events_topic, 2)
        read_all(settings, settings.dead_letters_topic, 1)
        assert allocator.get("/health/live")[0] == 200
        assert allocator.partitions == dict.fromkeys("0123", "working")
        until(lambda: 'opd_events_total{type="TokenConfirmed"} 1.0' in allocator.get("/metrics")[1], "it counted")
        metrics = allocator.get("/metrics")[1]
        assert "opd_partitions 4.0" in metrics
        assert "opd_partitions_owned 4.0" in metrics
        assert 'opd_partitions_waiting{for_what="Redis"} 0.0' in metrics
        assert "process_cpu_seconds_total " in metrics
        assert (
            sum(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("opd_dead_letters_total"))
            == 1
        )


def test_no_patient_id_stands_in_the_log_or_in_a_redis_key(settings: Settings) -> None:
    create_topics(settings, partitions=1)
    canary = "p-canary-4711"
    publish(settings, [a_doctor("d"), a_request("d", 1, canary), Sent(b"h/d", f'{{"{canary}'.encode(), NOW_MS)])
    chatty = settings.model_copy(update={"log_level": "debug"})
    with RunningAllocator(chatty) as allocator:
        letters = read_all(settings, settings.dead_letters_topic, 1)
        read_all(settings, settings.events_topic, 2)
        assert "partition taken" in allocator.log
        assert canary not in allocator.log
    with Redis.from_url(settings.redis_url) as redis:
        assert not [key for key in redis.scan_iter() if canary.encode() in key]
    assert canary not in str(letters[0].headers)


def refused_start(settings: Settings) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "services.cli", "allocator", "--http-port", "0"],
        env={**os.environ, **environment(settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stderr


def test_a_missing_topic_is_a_clear_line(settings: Settings) -> None:
    status, text = refused_start(settings)
    assert status == 1
    assert settings.commands_topic in text
    assert "Traceback" not in text


def test_a_redis_of_another_log_is_refused(settings: Settings) -> None:
    create_topics(settings, partitions=1)
    publish(settings, [a_doctor("d"), a_request("d", 1, "p1")])
    with RunningAllocator(settings):
        until(lambda: applied(settings, 0) == 1, "all is decided")
    other = settings.model_copy(
        update={
            "commands_topic": f"other.{settings.commands_topic}",
            "events_topic": f"other.{settings.events_topic}",
            "dead_letters_topic": f"other.{settings.dead_letters_topic}",
        }
    )
    create_topics(other, partitions=1)
    status, text = refused_start(other)
    assert (status, "the log lost records, or this Redis belongs to another log" in text) == (1, True)
    publish(other, [a_doctor("x"), a_request("x", 1, "p1")])
    status, text = refused_start(other)
    assert (status, "belongs to another log" in text) == (1, True)
    assert "Traceback" not in text


def test_a_state_of_another_layout_is_refused_and_left_as_it_is(settings: Settings) -> None:
    create_topics(settings, partitions=1)
    state = {"version": "another", "generation": "1", "applied": "7"}
    with Redis.from_url(settings.redis_url, decode_responses=True) as redis:
        redis.hset("opd{0}", mapping=state)
        status, text = refused_start(settings)
        assert (status, "in another layout (another) than this version" in text) == (1, True)
        assert "redis-cli FLUSHDB" in text
        assert "Traceback" not in text
        assert redis.hgetall("opd{0}") == state


def test_an_unreachable_redis_is_waited_for_by_name(settings: Settings, tmp_path: Path) -> None:
    create_topics(settings, partitions=1)
    nowhere = settings.model_copy(update={"redis_url": f"unix://{tmp_path}/none.sock"})
    with RunningAllocator(nowhere, wait=False) as allocator:
        until(lambda: allocator.partitions == {"0": "waiting: Redis"}, "it says what it waits for")
        assert allocator.get("/health/ready")[0] == 503
        assert "waiting" in allocator.log
        assert allocator.stop() == 0


def test_a_full_redis_stops_nothing_half_way_and_goes_on_when_there_is_room(settings: Settings) -> None:
    create_topics(settings, partitions=1)
    publish(settings, [a_doctor("d"), a_request("d", 0, "p0")])
    with RunningAllocator(settings) as allocator, Redis.from_url(settings.redis_url) as redis:
        until(lambda: applied(settings, 0) == 1, "there is room")
        redis.config_set("maxmemory", "1mb")
        try:
            publish(settings, [a_request("d", number, f"p{number}") for number in range(1, 200)])
            full = {"0": "waiting: room in Redis, which is at its maxmemory"}
            until(lambda: allocator.partitions == full, "it waits, and says for what")
            assert allocator.get("/health/ready")[0] == 503
            assert redis.hget("opd{0}", "half") == b"0"
            assert applied(settings, 0) == 1
        finally:
            redis.config_set("maxmemory", "0")
        assert audited(settings).commands == 201
        assert "half written" not in allocator.log
