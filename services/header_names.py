"""Header names that are no UTF-8: Kafka stores such a record, and aiokafka reads neither it nor any behind it.

A header's name is text by Kafka's protocol, but no broker checks it. aiokafka raises UnicodeDecodeError at each fetch,
so one such record would stop its partition for ever. Here it is read as Kafka's Java client reads it, with U+FFFD in
place of what is no text; it costs an ordinary record a tenth of a microsecond, and its batch two.
"""

from collections.abc import Iterator
from typing import Any, SupportsIndex

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


def read_any_header_name() -> None:
    """Make every consumer of this process read records whatever their headers are called."""
    fetcher.MemoryRecords = _Records  # aiokafka has no other way in


class _Records(_MemoryRecordsPy):  # type: ignore[misc]  # aiokafka carries no types
    """What was fetched, batch by batch."""

    def next_batch(self) -> Any:
        data = self._next_slice
        batch = super().next_batch()
        return batch if batch is None else _Batch(batch, data)


class _Batch:
    """A record batch; all but its records is as aiokafka has it."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch, self._data = batch, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            return iter(_LenientBatch(self._data))


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
