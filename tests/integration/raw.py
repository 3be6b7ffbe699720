"""Record batches as no decent client writes them, appended to the commands topic as they are."""

import asyncio
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c, encode_varint_py

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


def record_bytes(number: int, value: bytes) -> bytes:
    """Give a record without key and headers as it stands in a batch."""
    body = bytearray(1)
    for each in (0, number, -1, len(value)):
        encode_varint_py(each, body.append)
    length = bytearray()
    encode_varint_py(len(body) + len(value) + 1, length.append)
    return b"".join((length, body, value, b"\0"))


def batch_bytes(content: bytes, codec: str, records: int, *, timestamp_ms: int, base_offset: int = 0) -> bytes:
    """Give a record batch around any content, which is compressed already and need not be what it should."""
    layout = _DefaultRecordBatchBuilderPy.HEADER_STRUCT
    fixed = (CODECS[codec], records - 1, timestamp_ms, timestamp_ms, -1, -1, -1, records)
    batch = bytearray(layout.pack(base_offset, layout.size - 12 + len(content), 0, 2, 0, *fixed) + content)
    struct.pack_into(">I", batch, 17, calc_crc32c(memoryview(batch)[21:]))
    return bytes(batch)


def publish_batch_bytes(settings: Settings, batches: Iterable[bytes], *, partition: int = 0) -> None:
    """Append record batches as they are, one after the other."""
    asyncio.run(_publish_batch_bytes(settings, batches, partition))


async def _publish_batch_bytes(settings: Settings, batches: Iterable[bytes], partition: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
        for content in batches:
            batch = producer.create_batch()
            batch.close()
            batch._buffer, batch._relative_offset = content, 1
            await (await producer.send_batch(batch, settings.commands_topic, partition=partition))


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
