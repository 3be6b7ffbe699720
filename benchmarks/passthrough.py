"""Moves the commands topic into the events topic, record by record and nothing else: `getmany` to `send_batch`."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.kafka import BATCH_BYTES
from benchmarks.peers.loop import run
from services.settings import Settings


async def main(settings: Settings) -> None:
    """Move until cancelled."""
    async with (
        AIOKafkaConsumer(
            settings.commands_topic,
            bootstrap_servers=settings.kafka_bootstrap_servers,
            group_id=settings.consumer_group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        ) as consumer,
        AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap_servers, max_batch_size=BATCH_BYTES, enable_idempotence=True
        ) as producer,
    ):
        while True:
            sends, ends = [], {}
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                batch = producer.create_batch()
                for record in records:
                    if batch.append(key=record.key, value=record.value, timestamp=None) is None:
                        sends.append(await producer.send_batch(batch, settings.events_topic, partition=place.partition))
                        batch = producer.create_batch()
                        batch.append(key=record.key, value=record.value, timestamp=None)
                sends.append(await producer.send_batch(batch, settings.events_topic, partition=place.partition))
                ends[place] = records[-1].offset + 1
            await asyncio.gather(*sends)
            if ends:
                await consumer.commit(ends)


if __name__ == "__main__":
    run(main)
