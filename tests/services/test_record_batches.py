"""Whatever stands in a record batch: it is read in bounded memory, or given as one record that says that it is not."""

import struct
from collections.abc import Sequence
from typing import Any

import cramjam
import pytest
from aiokafka import codec
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from schemas.topics import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from services.record_batches import UNREAD, _Records, is_unread
from tests.integration.raw import CODECS, batch_bytes, record_bytes

MIB = 1024 * 1024
ENCODERS: dict[str, Any] = {
    "none": bytes,
    "gzip": lambda content: codec.gzip_encode(content, 1),
    "snappy": codec.snappy_encode,
    "lz4": lambda content: codec.lz4_encode(content, 1),
    "zstd": codec.zstd_encode,
}


def batch_of(values: Sequence[bytes], kind: str, *, base_offset: int = 0) -> bytes:
    """Give a batch as a client writes it."""
    builder = _DefaultRecordBatchBuilderPy(
        2, CODECS[kind], is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=2**26
    )
    for number, value in enumerate(values):
        builder.append(number, timestamp=7, key=b"k", value=value, headers=[])
    return struct.pack(">q", base_offset) + bytes(builder.build())[8:]


def raw_batch(content: bytes, kind: str, records: int, *, base_offset: int = 0) -> bytes:
    """Give a batch with any content, compressed already."""
    return batch_bytes(content, kind, records, timestamp_ms=7, base_offset=base_offset)


def read(*batches: bytes) -> list[list[Any]]:
    """Give what is read of a fetch, batch by batch."""
    records = _Records(b"".join(batches))
    found = []
    while records.has_next():
        found.append(list(records.next_batch()))
    return found


def check_unread(records: list[Any], first: int, last: int) -> None:
    (record,) = records
    assert is_unread(record.key, record.value, record.headers)
    assert (record.offset, record.timestamp) == (last, 7)
    assert dict(record.headers)[UNREAD].startswith(b"%d-%d: " % (first, last))


@pytest.mark.parametrize("kind", CODECS)
def test_a_batch_is_read_as_it_was_written(kind: str) -> None:
    values = [b"", b"x" * 100_000, *(b"%d" % number for number in range(100))]
    (records,) = read(batch_of(values, kind, base_offset=40))
    assert [(record.offset, record.key, record.value) for record in records] == [
        (40 + number, b"k", value) for number, value in enumerate(values)
    ]
    assert not is_unread(records[0].key, records[0].value, records[0].headers)


@pytest.mark.parametrize("kind", CODECS)
def test_what_just_fits_is_read_and_what_does_not_is_told_at_the_last_offset(kind: str) -> None:
    room = (
        MAX_BATCH_BYTES - len(record_bytes(1, b"y")) - len(record_bytes(0, b"\0" * MAX_BATCH_BYTES)) + MAX_BATCH_BYTES
    )
    fits = record_bytes(0, b"\0" * room) + record_bytes(1, b"y")
    assert len(fits) == MAX_BATCH_BYTES
    encode = ENCODERS[kind]
    (records,) = read(raw_batch(encode(fits), kind, 2, base_offset=5))
    assert [(record.offset, len(record.value)) for record in records] == [(5, room), (6, 1)]
    (records,) = read(raw_batch(encode(fits + b"\0"), kind, 2, base_offset=5))
    check_unread(records, 5, 6)


def test_of_many_batches_no_more_is_read_at_once_than_one_may_hold() -> None:
    batch = batch_of([bytes(6 * MIB)], "zstd")
    assert len(read(*[batch] * 100)) == 3


@pytest.mark.parametrize("kind", CODECS)
def test_too_many_records_are_not_read(kind: str) -> None:
    most = b"".join(record_bytes(number, b"") for number in range(MAX_BATCH_RECORDS))
    (records,) = read(raw_batch(ENCODERS[kind](most), kind, MAX_BATCH_RECORDS))
    assert len(records) == MAX_BATCH_RECORDS
    (records,) = read(raw_batch(ENCODERS[kind](most), kind, MAX_BATCH_RECORDS + 1, base_offset=3))
    check_unread(records, 3, MAX_BATCH_RECORDS + 3)


CONTENT = record_bytes(0, b"hello" * 100)
SNAPPY = b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"
ODD = {
    "gzip and rubbish": ("gzip", codec.gzip_encode(CONTENT) + b"rubbish"),
    "gzip cut": ("gzip", codec.gzip_encode(CONTENT)[:-1]),
    "gzip of nothing": ("gzip", b""),
    "zstd and rubbish": ("zstd", codec.zstd_encode(CONTENT) + b"rubbish"),
    "zstd cut": ("zstd", codec.zstd_encode(CONTENT)[:-1]),
    "lz4 and rubbish": ("lz4", codec.lz4_encode(CONTENT) + b"rubbish"),
    "lz4 cut": ("lz4", codec.lz4_encode(CONTENT)[:-1]),
    "snappy that claims 4 GB": ("snappy", b"\xff\xff\xff\xff\x0f\0"),
    "snappy of a negative block": ("snappy", SNAPPY + b"\xff\xff\xff\xff" * 3),
    "snappy cut": ("snappy", codec.snappy_encode(CONTENT)[:-1]),
    "a record cut": ("none", CONTENT[:-1]),
    "no records": ("none", b""),
    "a length without end": ("none", b"\xff" * 40),
    "a negative length": ("none", record_bytes(0, b"")[:3] + b"\x03\x03\x03\x03"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_unpacked_is_told_and_what_stands_behind_it_is_read(name: str) -> None:
    kind, content = ODD[name]
    odd, records = read(raw_batch(content, kind, 1, base_offset=2), batch_of([b"fine"], "none", base_offset=3))
    check_unread(odd, 2, 2)
    assert [record.value for record in records] == [b"fine"]


def test_a_snappy_stream_of_a_later_version_is_read() -> None:
    block = bytes(cramjam.snappy.compress_raw(CONTENT))
    stream = SNAPPY[:8] + b"\0\0\0\2\0\0\0\1" + struct.pack(">i", len(block)) + block
    (records,) = read(raw_batch(stream, "snappy", 1))
    assert [record.value for record in records] == [b"hello" * 100]
