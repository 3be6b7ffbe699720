"""What the allocator's consumers give of a record is what aiokafka would give."""

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from services.allocator.records import CommandRecord
from services.bare_records import take_bare_records
from services.record_batches import read_any_batch

PLACE = TopicPartition("commands", 0)
PARTS = ("offset", "timestamp", "key", "value", "headers")


def fetched(headers: list[tuple[str, bytes | None]]) -> list[CommandRecord]:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 10_000)
    for n, (key, value) in enumerate([(b"k", b"v"), (None, b""), (b"", None)]):
        builder.append(n, 1_795_392_000_000 + n, key, value, headers)
    records = fetcher.MemoryRecords(bytes(builder.build()))
    return list(fetcher.PartitionRecords(PLACE, records, [], 0, None, None, check_crcs=True, isolation_level=0))


def test_bare_records_have_the_parts_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "PartitionRecords", fetcher.PartitionRecords)
    monkeypatch.setattr(fetcher, "MemoryRecords", fetcher.MemoryRecords)
    read_any_batch()
    for headers in ([], [("a", b"1"), ("a", None)]):
        usual = fetched(headers)
        take_bare_records()
        bare = fetched(headers)
        monkeypatch.setattr(fetcher, "PartitionRecords", fetcher.PartitionRecords.__mro__[1])
        assert [type(record) for record in bare] != [type(record) for record in usual]
        assert [_parts(record) for record in bare] == [_parts(record) for record in usual]


def _parts(record: CommandRecord) -> list[object]:
    return [list(part) if isinstance(part, tuple) else part for part in map(record.__getattribute__, PARTS)]
