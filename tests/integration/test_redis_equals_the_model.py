"""I9 on a running system: Redis is compared with the model while both move on, and what is broken is named."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import ormsgpack
import pytest
from redis import Redis

from allocation_core.digests import department_digest
from services.auditor.command import verify
from services.auditor.kafka import audit_topics
from services.auditor.report import Invariant, Report
from services.settings import Settings
from tests.integration.running import RunningAllocator, Sent, create_topics, publish
from tests.integration.test_allocator import NOW_MS, a_doctor, a_random_day, a_request, applied, said
from tests.waiting import until

TOKEN = "h.d.20261123"  # noqa: S105  the beginning of token ids
SESSION = {"doctor_id": "a", "date": "2026-11-23", "slot": "09:00-10:00"}
POOL = "09:00-10:00 20780"
KEPT = "opd{0}:1:"


def a_morning() -> list[Sent]:
    """One seat taken by patient 1, who was called; 2 and 3 wait; the doctor has another capacity for the date."""
    return [
        a_doctor("d"),
        *(a_request("d", number, f"secret-{number}") for number in (1, 2, 3)),
        said("d", "CheckIn", 4, token_id=f"{TOKEN}.1"),
        said("d", "CallNext", 5, **SESSION),
        said("d", "SetSlotCapacity", 6, **SESSION, capacity=1),
        Sent(b"h/d", b"rubbish", NOW_MS),
    ]


@pytest.fixture
def decided(settings: Settings) -> Iterator[Redis]:
    """The Redis of a system that has decided `a_morning` and stopped."""
    create_topics(settings, partitions=1)
    morning = a_morning()
    publish(settings, morning)
    with RunningAllocator(settings):
        until(lambda: applied(settings, 0) == len(morning) - 1, "all is applied")
    with Redis.from_url(settings.redis_url) as redis:
        yield redis


def state_audit(settings: Settings) -> Report:
    return audit_topics(settings, wait_s=0.3, redis=True)


BREAKS: list[tuple[Callable[[Redis], Any], str]] = [
    (lambda redis: redis.hdel("opd{0}:d", "h/d"), "department h/d: is not in Redis"),
    (
        lambda redis: redis.hset("opd{0}:d", "h/e", redis.hget("opd{0}:d", "h/d") or b""),
        "h/e: is in Redis, but no comm",
    ),
    (
        lambda redis: redis.hset("opd{0}:v", department_digest("h/i"), bytes(7)),
        f"{department_digest('h/i').hex()}: is in Redis, but no comm",
    ),
    (
        lambda redis: redis.hdel(f"{KEPT}t20780", "2"),
        "department h/d: is not as the model has it: tokens 2026-11-23 2 is",
    ),
    (lambda redis: spoil_a_token(redis, 3, at=1, byte=2), "tokens 2026-11-23 3 differs: status"),
    (lambda redis: spoil_a_token(redis, 3, at=22, byte=ord("x")), "tokens 2026-11-23 3 differs: patient_id"),
    (lambda redis: redis.zrem(f"{KEPT}{POOL}:w", "2"), f"contradicts itself: index lines of 2026-11-23 {POOL[:11]} w"),
    (lambda redis: redis.zadd(f"{KEPT}{POOL}:w", {"3": 1}), "index lines of 2026-11-23 09:00-10:00 w contradicts"),
    (lambda redis: redis.zadd(f"{KEPT}{POOL}:i1", {"1": 1}), "index lines of 2026-11-23 09:00-10:00 i1 contradicts"),
    (lambda redis: redis.hdel(f"{KEPT}{POOL}:a", "secret-3"), "index active of 2026-11-23 09:00-10:00 contradicts"),
    (lambda redis: spoil_the_pool(redis, at=5, value=9), "index pools of 2026-11-23 09:00-10:00 contradicts"),
    (lambda redis: spoil_the_pool(redis, at=8, value=0), "index pools of 2026-11-23 09:00-10:00 contradicts"),
    (lambda redis: spoil_the_pool(redis, at=10, value=9), "sessions 2026-11-23 09:00-10:00 a differs: capacity"),
    (lambda redis: spoil_the_pool(redis, at=0, value=1), "closed 2026-11-23 09:00-10:00"),
    (lambda redis: redis.hset(f"{KEPT}p", "20780", "4"), "token_nos 2026-11-23 differs"),
    (lambda redis: redis.hset(f"{KEPT}w", "1", "09:00-10:00 0 1;"), "week of doctor a differs"),
    (lambda redis: redis.hdel(f"{KEPT}s", "09:00-10:00 0"), "index worked of 09:00-10:00 0 contradicts"),
    (lambda redis: redis.delete(f"{KEPT}i5195"), "commands "),
    (lambda redis: redis.hset("opd{0}", "applied", "5"), "Redis has applied offset 5 and no further"),
    (lambda redis: redis.hset("opd{0}", "applied", "50"), "Redis has applied offset 50, where the log holds no record"),
    (lambda redis: redis.hset("opd{0}", "digest", "0" * 32), "it belongs to another log"),
    (lambda redis: redis.hset("opd{0}", "half", "1"), "is half written"),
    (lambda redis: redis.flushall(), "Redis has applied offset -1 and no further"),
]


def stored(redis: Redis, key: str, field: str) -> bytes:
    found = redis.hget(key, field)
    assert isinstance(found, bytes)
    return found


def spoil_a_token(redis: Redis, no: int, *, at: int, byte: int) -> None:
    packed = bytearray(stored(redis, f"{KEPT}t20780", str(no)))
    packed[at] = byte
    redis.hset(f"{KEPT}t20780", str(no), bytes(packed))


def spoil_the_pool(redis: Redis, *, at: int, value: int) -> None:
    header = ormsgpack.unpackb(stored(redis, f"{KEPT}p", POOL))
    header[at] = value
    redis.hset(f"{KEPT}p", POOL, ormsgpack.packb(header))


def test_each_thing_that_is_broken_in_redis_is_named(settings: Settings, decided: Redis) -> None:
    whole = state_audit(settings)
    assert (whole.holds, whole.unchecked) == (True, set())
    keys = {key: decided.dump(key) for key in decided.scan_iter()}
    for spoil, named in BREAKS:
        spoil(decided)
        report = state_audit(settings)
        assert set(report.broken) == {Invariant.I9}, named
        told = [breach.text for breach in report.breaches[Invariant.I9]]
        assert any(named in text for text in told), (named, told)
        assert "secret" not in str(told)
        decided.flushall()
        for key, kept in keys.items():
            decided.restore(key, 0, kept or b"")
    assert state_audit(settings).holds


def test_verify_says_whether_redis_was_looked_at(
    settings: Settings, decided: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    del decided
    verify(settings, wait_s=1)
    assert "I9 not looked at: Redis equals the model" in capsys.readouterr().out
    verify(settings, wait_s=1, redis=True)
    assert "I9 holds" in capsys.readouterr().out


def publish_in_parts(settings: Settings, records: list[Sent]) -> None:
    for at in range(0, len(records), 100):
        publish(settings, records[at : at + 100])


def test_a_redis_that_moves_on_is_compared(settings: Settings) -> None:
    create_topics(settings, partitions=2)
    day = a_random_day(seed=7, count=6_000)
    with RunningAllocator(settings):
        publish(settings, day[:1000])
        sending = threading.Thread(target=publish_in_parts, args=(settings, day[1000:]))
        sending.start()
        reports = [audit_topics(settings, redis=True)]
        while sending.is_alive():
            reports.append(audit_topics(settings, redis=True))
        sending.join()
        reports.append(audit_topics(settings, redis=True))
        reports.append(audit_topics(settings, redis=True, processes=2))
    for report in reports:
        assert report.holds, report.breaches
    assert reports[0].commands < reports[-1].commands == len(day)
