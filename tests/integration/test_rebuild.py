"""The state is thrown away on purpose while the system goes on; the group's generations begin anew."""

import asyncio
import threading

import pytest
import typer
from aiokafka import TopicPartition
from redis import Redis

from services.auditor.kafka import audit_topics
from services.rebuild import StateError, rebuild, reset_generation
from services.settings import Settings
from services.topics import ensure_topics
from tests.integration.running import RunningAllocator, create_topics, publish
from tests.integration.test_allocator import a_random_day, applied
from tests.integration.test_redis_equals_the_model import publish_in_parts
from tests.integration.test_simulate_and_verify import trim
from tests.waiting import until


def test_a_live_system_is_rebuilt_on_purpose(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    create_topics(settings, partitions=2)
    day = a_random_day(seed=11, count=6_000)
    publish(settings, day[:5_000])
    with RunningAllocator(settings) as allocator:
        until(lambda: applied(settings, 0) + applied(settings, 1) == 4_998, "all is applied")
        sending = threading.Thread(target=publish_in_parts, args=(settings, day[5_000:]))
        sending.start()
        rebuild(settings, every=True)
        sending.join()
        report = audit_topics(settings, wait_s=60, redis=True)
        assert report.holds, report.breaches
        assert report.repeats == 0
        metrics = allocator.get("/metrics")[1]
        log = allocator.log

    assert capsys.readouterr().out.count("will be thrown away and rebuilt") == 2
    assert log.count("rebuilding the state from the log") == 2
    assert log.count("the state is rebuilt") == 2
    for number in (0, 1):
        assert f'opd_rebuild_remaining_records{{partition="{number}"}} 0.0' in metrics
    counted = [float(line.split()[1]) for line in metrics.splitlines() if line.startswith("opd_decisions_total")]
    assert sum(counted) < 8_000, "what was said before is not counted again"


def test_a_partition_without_state_is_left_alone(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(ensure_topics(settings, partitions=2))
    rebuild(settings, partition=[1])
    assert capsys.readouterr().out.startswith("partition 1: Redis holds nothing")


def test_what_the_log_cannot_rebuild_is_refused(settings: Settings) -> None:
    create_topics(settings, partitions=1)
    publish(settings, a_random_day(seed=1, count=10))
    asyncio.run(trim(settings, TopicPartition(settings.commands_topic, 0), 3))
    with pytest.raises(StateError, match="begins at offset 3 there, and OPD_SNAPSHOT_FOLDER names no folder"):
        rebuild(settings, partition=[0])


@pytest.mark.parametrize("words", [{}, {"partition": [0], "every": True}, {"partition": [2]}])
def test_the_partitions_must_be_named(words: dict[str, bool | list[int]], settings: Settings) -> None:
    asyncio.run(ensure_topics(settings, partitions=2))
    with pytest.raises(typer.BadParameter):
        rebuild(settings, **words)  # type: ignore[arg-type] # the cases say which is which


def test_a_group_that_began_anew_is_let_in(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    create_topics(settings, partitions=1)
    publish(settings, a_random_day(seed=2, count=50))
    with Redis.from_url(settings.redis_url) as redis:
        redis.hset("opd{0}", "generation", "1000")
    with RunningAllocator(settings, wait=False) as allocator:
        until(lambda: "another owner has the partition" in allocator.log, "it is superseded")
        reset_generation(settings, every=True)
        assert "partition 0: the next allocator that takes it owns it" in capsys.readouterr().out
    with RunningAllocator(settings):
        until(lambda: applied(settings, 0) == 49, "all is applied")
    report = audit_topics(settings, redis=True)
    assert report.holds, report.breaches
