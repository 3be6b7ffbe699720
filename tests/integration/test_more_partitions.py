"""The way of docs/operations.md to topics with more partitions: every decision stays what it was."""

import asyncio
import json
import os
import re
import subprocess
import sys
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

from redis import Redis

from services.auditor.kafka import audit_topics
from services.settings import Settings
from services.topics import check_topics
from tests.integration.running import RunningAllocator, create_topics, publish, read_all
from tests.integration.test_allocator import a_random_day, applied
from tests.waiting import until

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_topics_with_more_partitions_hold_the_same_decisions(settings: Settings, tmp_path: Path) -> None:
    create_topics(settings, partitions=2)
    publish(settings, day := a_random_day(seed=7, count=400))
    before = decided(settings, len(day))
    with Redis.from_url(settings.redis_url) as redis:
        redis.flushall()
    wider = settings.model_copy(update={name: f"{uuid.uuid4()}" for name in NAMES})
    create_topics(wider, partitions=5)
    copy(settings.commands_topic, wider, tmp_path)
    assert decided(wider, len(day)) == before
    assert len(before) > 1, "there are departments to be kept apart"


NAMES = ("commands_topic", "events_topic", "dead_letters_topic", "consumer_group")


def decided(settings: Settings, commands: int) -> dict[bytes, list[tuple[Any, ...]]]:
    """What was said of each department, in order, once all commands are answered: all but the events' own ids."""
    partitions = asyncio.run(check_topics(settings))[0].partitions
    with RunningAllocator(settings, wait=False):
        until(lambda: all_applied(settings, partitions, commands), "all is decided", timeout_s=120)
        report = audit_topics(settings, redis=True)
    assert report.holds, report.breaches
    said: defaultdict[bytes, list[tuple[Any, ...]]] = defaultdict(list)
    for record in read_all(settings, settings.events_topic):
        event = json.loads(record.value)
        said[record.key].append((event["type"], event["sequence"], event["time"], event["causationid"], event["data"]))
    return dict(said)


def all_applied(settings: Settings, partitions: int, commands: int) -> bool:
    return sum(applied(settings, number) + 1 for number in range(partitions)) == commands


def copy(old: str, settings: Settings, folder: Path) -> None:
    """Run the lines of the page as they stand there."""
    (lines,) = re.findall(r"^```python\n(.*?)^```$", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL)
    script = folder / "wider.py"
    script.write_text(lines)
    told = {
        "OPD_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "OPD_COMMANDS_TOPIC": settings.commands_topic,
        "OLD_COMMANDS_TOPIC": old,
    }
    environment = {**os.environ, **told, "PYTHONPATH": str(OPERATIONS.parents[1])}
    subprocess.run([sys.executable, str(script)], env=environment, check=True, timeout=120)  # noqa: S603  ours
