"""The allocator as a member of its group, and as a client of a Kafka of several servers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.settings import Settings
from services.stack import KafkaServer
from services.stack.ports import free_ports
from services.stack.system import environment
from tests.integration.running import RunningAllocator, create_topics, publish, read_all
from tests.integration.test_allocator import a_random_day
from tests.waiting import until

A_DAY_WITHOUT_A_POLL = """
from aiokafka.consumer.subscription_state import SubscriptionState
SubscriptionState.fetcher_idle_time = property(lambda _: 86_400.0)
"""


KILL_KAFKA_ONCE_CHECKED = """
import os, signal
from services.allocator import process
from services.cli import main

check_topics = process.check_topics

async def check_and_kill(settings):
    found = await check_topics(settings)
    os.kill({pid}, signal.SIGKILL)
    return found

process.check_topics = check_and_kill
main()
"""


def test_a_spare_member_that_had_nothing_to_do_for_a_day_takes_over(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(A_DAY_WITHOUT_A_POLL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    create_topics(settings, partitions=1)
    day = a_random_day(1, 200)
    with RunningAllocator(settings) as one, RunningAllocator(settings) as other:
        until(lambda: len(one.partitions) + len(other.partitions) == 1, "one of them has nothing to do")
        spare, busy = sorted([one, other], key=lambda allocator: len(allocator.partitions))
        busy.stop()
        until(lambda: spare.partitions == {"0": "working"}, "the spare one took over")
        publish(settings, day)
        read_all(settings, settings.events_topic, 100)


def test_several_servers_of_kafka_can_be_named(settings: Settings) -> None:
    create_topics(settings, partitions=1)
    (nobody,) = free_ports(1)
    both = f"127.0.0.1:{nobody},{settings.kafka_bootstrap_servers}"
    with RunningAllocator(settings.model_copy(update={"kafka_bootstrap_servers": both})) as allocator:
        assert allocator.partitions == {"0": "working"}


def test_a_port_that_is_taken_is_a_clear_end(settings: Settings) -> None:
    create_topics(settings, partitions=1)
    with RunningAllocator(settings) as first:
        ended = allocator_ended(settings, "-m", "services.cli", "allocator", "--http-port", str(first.port))
    assert (ended.returncode, "opd allocator could not start" in ended.stderr) == (1, True)


def test_a_kafka_that_goes_away_while_it_starts_is_a_clear_end(tmp_path: Path) -> None:
    kafka = KafkaServer(tmp_path)
    kafka.start()
    try:
        settings = Settings(kafka_bootstrap_servers=kafka.address)
        create_topics(settings, partitions=1)
        kill = KILL_KAFKA_ONCE_CHECKED.format(pid=kafka.process.pid)
        ended = allocator_ended(settings, "-c", kill, "allocator", "--http-port", "0")
    finally:
        kafka.stop()
    assert (ended.returncode, "opd allocator could not start" in ended.stderr) == (1, True)


def allocator_ended(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these words until it ends by itself."""
    return subprocess.run(  # noqa: S603  our own words
        [sys.executable, *words],
        env={**os.environ, **environment(settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
