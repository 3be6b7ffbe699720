"""What several partitions say at the same time."""

import asyncio
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest

from services.allocator.kafka import Publisher
from services.allocator.records import OutRecord
from services.settings import Settings
from tests.integration.running import create_topics

RECORD = OutRecord(b"h/d", b"{}", [])


def test_no_partition_waits_for_the_acknowledgement_of_anothers_events(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka's own sender asks a broker for nothing more before it has answered."""
    create_topics(settings, partitions=2)
    asked, answered = asyncio.Event(), asyncio.Event()
    send = AIOKafkaClient.send

    async def answer_the_first_late(client: AIOKafkaClient, node: int, request: Any, **more: Any) -> Any:
        is_first = isinstance(request, ProduceRequest) and not asked.is_set()
        if is_first:
            asked.set()
        answer = await send(client, node, request, **more)
        if is_first:
            await answered.wait()
        return answer

    monkeypatch.setattr(AIOKafkaClient, "send", answer_the_first_late)

    async def say_twice() -> None:
        publisher = Publisher(settings)
        try:
            first = asyncio.create_task(publisher.send(settings.events_topic, 0, [RECORD]))
            await asyncio.wait_for(asked.wait(), 20)
            await publisher.send(settings.events_topic, 1, [RECORD])
            assert not first.done()
            answered.set()
            await first
        finally:
            await publisher.stop()

    asyncio.run(say_twice())
