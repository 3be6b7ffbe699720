"""Known places of several topics, read in turn from a real Kafka."""

import asyncio
from functools import partial

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.allocator import kafka
from services.allocator.owner import LogBounds
from services.settings import Settings
from tests.integration.running import Sent, create_topics, publish


def test_no_topic_is_forgotten_while_others_are_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka waits before it looks again for a topic that it does not know: here longer than an answer may take."""
    create_topics(settings, partitions=1)
    publish(settings, [Sent(b"h/d", b"{", 0)])
    monkeypatch.setattr(kafka, "AIOKafkaConsumer", partial(AIOKafkaConsumer, retry_backoff_ms=60_000))
    monkeypatch.setattr(kafka, "ANSWER_WITHIN_S", 20.0)
    commands = TopicPartition(settings.commands_topic, 0)

    async def read_in_turn() -> list[LogBounds]:
        tails = kafka.TailReader(settings)
        await tails.start()
        try:
            found: list[LogBounds] = []
            for topic in (settings.events_topic, settings.dead_letters_topic) * 2:
                found.append(await tails.bounds(commands))
                assert len(await tails.read(commands, 0, 1)) == 1
                assert [record async for record in tails.tail(TopicPartition(topic, 0), 10)] == []
            return found
        finally:
            await tails.stop()

    assert asyncio.run(read_in_turn()) == [LogBounds(0, 1)] * 4
