"""Record batches as no decent client writes them, appended to the commands topic as they are."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from services.settings import Settings

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


class Raw(NamedTuple):
    """A record with anything in it that Kafka's format has room for."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Sequence[tuple[bytes, bytes | None]] = ()


class _Name(str):
    """A header's name that need not be text."""

    __slots__ = ()

    def encode(self, *_: str) -> bytes:
        return super().encode("latin-1")


def publish_raw(settings: Settings, records: Sequence[Raw], *, partition: int = 0, codec: str = "none") -> None:
    """Append records to a partition, all in one record batch."""
    publish_raw_batches(settings, [RawBatch(partition, codec, records)])


class RawBatch(NamedTuple):
    """Records that are appended in one record batch."""

    partition: int
    codec: str
    records: Sequence[Raw]


def publish_raw_batches(settings: Settings, batches: Iterable[RawBatch]) -> None:
    """Append record batches, one after the other."""
    asyncio.run(_publish_raw(settings, batches))


async def _publish_raw(settings: Settings, batches: Iterable[RawBatch]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
        for partition, codec, records in batches:
            batch = producer.create_batch()
            batch._builder = _DefaultRecordBatchBuilderPy(
                2,
                CODECS[codec],
                is_transactional=0,
                producer_id=-1,
                producer_epoch=-1,
                base_sequence=-1,
                batch_size=2**26,
            )
            for record in records:
                headers = [(_Name(name, "latin-1"), value) for name, value in record.headers]
                batch.append(key=record.key, value=record.value, timestamp=record.timestamp_ms, headers=headers)
            await (await producer.send_batch(batch, settings.commands_topic, partition=partition))
