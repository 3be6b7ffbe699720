"""How the projector cuts the topic into transactions."""

import time
from itertools import islice
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition

from services.history import projector
from services.history.metrics import HistoryMetrics
from services.history.store import load
from services.settings import Settings
from tests.core.days import random_commands
from tests.history.conftest import InDatabase
from tests.history.log import TOPIC, Log

EVENTS, APART_S = 4, 0.5


class _Trickle:
    """A consumer that always has the next record, and never two."""

    def __init__(self, log: Log) -> None:
        self._records = iter(log.records[0])

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        return {TopicPartition(TOPIC, 0): list(islice(self._records, 1))}

    def highwater(self, _place: TopicPartition) -> None:
        return None


def test_transactions_begin_a_moment_apart(in_database: InDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector, "_BEGIN_APART_S", APART_S)  # longer than even a busy machine takes for one
    log = Log()
    log.say(random_commands(seed=31, count=EVENTS))
    log.records[0] = log.records[0][:EVENTS]

    async def run(connection: asyncpg.Connection, schema: str) -> tuple[float, int]:
        settings = Settings(history_schema=schema, events_topic=TOPIC)
        at_work = projector.Projector(settings, 1, HistoryMetrics())
        [partition] = await load(connection, TOPIC, 1)
        began = time.monotonic()
        await at_work._take_batches(_Trickle(log), connection, {0: partition}, lambda at: at.get(0) == EVENTS)
        return time.monotonic() - began, await connection.fetchval("SELECT count(*) FROM events")

    took_s, events = in_database(run)
    assert events == EVENTS
    assert took_s > (EVENTS - 1) * APART_S - 0.05
