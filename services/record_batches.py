"""Reads whatever record batch Kafka stores, in bounded memory (ADR 9).

Kafka looks into a batch only so far as to count its records. What it stores can keep aiokafka from reading on for ever:
a megabyte that unpacks to gigabytes, a header's name that is no UTF-8, a stream that Java's reader takes and ours does
not. Here a batch unpacks to `MAX_BATCH_BYTES` at most, and a fetch to little more; a header's name is read as Kafka's
Java client reads it, with U+FFFD in place of what is no text; and a batch that cannot be had so is given as one record
that says so, at the batch's last offset.
"""

import mmap
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, SupportsIndex

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from schemas.topics import MAX_BATCH_BYTES, MAX_BATCH_RECORDS

UNREAD = "opd-unread-batch"

_HEADER = _DefaultRecordBatchPy.HEADER_STRUCT
_LENGTH_AT, _ATTRIBUTES_AT = 8, _DefaultRecordBatchPy.ATTRIBUTES_OFFSET
_GZIP = 16 + zlib.MAX_WBITS
_LIKELY_RATIO = 32
_XERIAL = b"\x82SNAPPY\0"
_UNREADABLE = (
    ValueError,
    IndexError,
    struct.error,
    zlib.error,
    cramjam.DecompressionError,
    CorruptRecordException,
)


def read_any_batch() -> None:
    """Make every consumer of this process read batches so."""
    fetcher.MemoryRecords = _Records  # aiokafka has no other way in


def is_unread(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Whether a record stands for a batch that was not read."""
    return key is None and value is None and any(name == UNREAD for name, _ in headers)


class UnreadRecord(NamedTuple):
    """What is given of a batch that is not read: where it ends, and why it is not."""

    offset: int
    timestamp: int
    timestamp_type: int
    headers: tuple[tuple[str, bytes], ...]
    key: None = None
    value: None = None
    checksum: None = None


class _Records(_MemoryRecordsPy):  # type: ignore[misc]  # aiokafka carries no types
    """What was fetched, batch by batch; what is not looked at any more is fetched again."""

    _unpacked = 0

    def has_next(self) -> bool:
        return self._unpacked < MAX_BATCH_BYTES and super().has_next()

    def next_batch(self) -> Any:
        data = self._next_slice
        batch = super().next_batch()
        return batch if batch is None or batch.is_control_batch else _Batch(batch, data, self)

    def note_unpacked(self, size: int) -> None:
        """Count what a batch unpacked to."""
        self._unpacked += size


class _Batch:
    """A record batch; all but its records is as aiokafka has it."""

    def __init__(self, batch: Any, data: memoryview, records: _Records) -> None:
        self._batch, self._data, self._records = batch, data, records

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            data = self._unpacked()
            self._records.note_unpacked(len(data))
            try:
                return iter(list(DefaultRecordBatch(data)))
            except UnicodeDecodeError:
                return iter(list(_LenientBatch(data)))
        except _UNREADABLE:
            return iter([self._unread()])

    def _unpacked(self) -> memoryview | bytes:
        """Give the batch as if nobody had compressed it."""
        count: int = _HEADER.unpack_from(self._data)[-1]
        if count > MAX_BATCH_RECORDS:
            raise ValueError("too many records")
        codec = self._batch.compression_type
        packed = self._data[_HEADER.size :]
        content = packed if codec == DefaultRecordBatch.CODEC_NONE else _UNPACK[codec](packed)
        if len(content) > MAX_BATCH_BYTES:
            raise ValueError("too large")
        if content is packed:
            return self._data
        head = bytearray(self._data[: _HEADER.size])
        struct.pack_into(">i", head, _LENGTH_AT, _HEADER.size - _LENGTH_AT - 4 + len(content))
        head[_ATTRIBUTES_AT + 1] &= ~DefaultRecordBatch.CODEC_MASK
        return b"".join((head, content))

    def _unread(self) -> UnreadRecord:
        first, last = self._batch.base_offset, self._batch.next_offset - 1
        limits = f"{MAX_BATCH_BYTES} bytes or {MAX_BATCH_RECORDS} records"
        told = f"{first}-{last}: over {limits} once unpacked, or not to be unpacked"
        return UnreadRecord(last, self._batch.max_timestamp, self._batch.timestamp_type, ((UNREAD, told.encode()),))


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka carries no types
    """A record batch read byte by byte in Python: slow, and only for a sender that means ill."""

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: Any = _LenientText(self._buffer)


class _LenientText(bytearray):
    """Bytes whose parts decode, whatever they are."""

    def __getitem__(self, place: SupportsIndex | slice) -> Any:
        part = super().__getitem__(place)
        return _LenientText(part) if isinstance(place, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        del errors
        return super().decode(encoding, "replace")


# Each unpacks as much as is read, and raises one of `_UNREADABLE`, or gives more, where there is more.


def _gunzip(packed: memoryview) -> bytes:
    member = zlib.decompressobj(_GZIP)
    unpacked = member.decompress(packed, MAX_BATCH_BYTES + 1)
    if not member.eof or member.unused_data:
        raise ValueError("too large, or not one member")
    return unpacked


def _unsnap(packed: memoryview) -> bytes:
    if bytes(packed[:8]) != _XERIAL:
        return _unsnap_block(packed, MAX_BATCH_BYTES)
    blocks, left, at = [], MAX_BATCH_BYTES, 16
    while at < len(packed):
        (size,) = struct.unpack_from(">i", packed, at)
        block = _unsnap_block(packed[at + 4 : at + 4 + size], left)
        blocks.append(block)
        left -= len(block)
        at += 4 + max(0, size)
    return b"".join(blocks)


def _unsnap_block(packed: memoryview, most: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(packed) > most:
        raise ValueError("too large")
    return bytes(cramjam.snappy.decompress_raw(packed))


def _unlz4(packed: memoryview) -> memoryview:
    return _into_a_buffer(cramjam.lz4.decompress_into, packed)


def _unzstd(packed: memoryview) -> memoryview:
    return _into_a_buffer(cramjam.zstd.decompress_into, packed)


def _into_a_buffer(decompress_into: Any, packed: memoryview) -> memoryview:
    """Try a buffer that is enough for any honest batch and costs little; then as much as is read."""
    likely = bytearray(_LIKELY_RATIO * len(packed))
    try:
        return memoryview(likely)[: decompress_into(packed, likely)]
    except cramjam.DecompressionError:
        most = mmap.mmap(-1, MAX_BATCH_BYTES + 1)  # only what is written to takes memory
        return memoryview(most)[: decompress_into(packed, most)]


_UNPACK: dict[int, Callable[[memoryview], bytes | memoryview]] = {
    DefaultRecordBatch.CODEC_GZIP: _gunzip,
    DefaultRecordBatch.CODEC_SNAPPY: _unsnap,
    DefaultRecordBatch.CODEC_LZ4: _unlz4,
    DefaultRecordBatch.CODEC_ZSTD: _unzstd,
}
