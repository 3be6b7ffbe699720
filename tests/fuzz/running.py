"""The same records through an allocator that runs, between a real Kafka and a real Redis."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random

from schemas.follow import Follower
from services.auditor.kafka import audit_topics
from services.settings import Settings
from tests.fuzz.generator import PARTITIONS, Fuzzed
from tests.fuzz.judge import is_readable_there
from tests.integration.raw import CODECS, Raw, RawBatch, publish_raw_batches
from tests.integration.running import RunningAllocator, create_topics, read_all

_BATCH_BYTES = 500_000
_FARTHEST_MS = 2**63 - 1  # from the first timestamp of a batch: the field has no room for more


def run(settings: Settings, records: Sequence[Fuzzed]) -> tuple[int, int]:
    """Send records to an allocator of their own and hold what came of them to the oracle; give answered and refused.

    Raises:
        AssertionError: something was decided that should not have been, or the other way round, or not kept as it was.
    """
    create_topics(settings, PARTITIONS)
    sent: dict[int, list[Fuzzed]] = defaultdict(list)
    for record in records:
        sent[record.partition].append(record)
    with RunningAllocator(settings) as allocator:
        for partition, own in sent.items():
            publish_raw_batches(settings, _batches(partition, own))
        report = audit_topics(settings, wait_s=60 + len(records) / 500)
        assert report.holds, report.as_json()
        assert allocator.get("/health/ready")[0] == 200
    letters = _check_letters(settings, sent)
    answered = _follow(settings)
    should = {f"{p}-{n}" for p, own in sent.items() for n, record in enumerate(own) if is_readable_there(record)}
    assert answered == should, f"the oracle says otherwise of {sorted(answered ^ should)[:5]}"
    assert letters + len(answered) == len(records)
    return len(answered), letters


def _follow(settings: Settings) -> set[str]:
    """Follow the events as a consumer does; give the places of the commands that they answer."""
    followers: dict[int, Follower] = defaultdict(Follower)
    events = [
        followers[record.partition].take(record.key, record.value)
        for record in read_all(settings, settings.events_topic)
    ]
    return {event.id.rpartition("-")[0] for event in events if event is not None}


def _check_letters(settings: Settings, sent: dict[int, list[Fuzzed]]) -> int:
    """Each unreadable record is a dead letter byte for byte, in its partition, in order."""
    letters = read_all(settings, settings.dead_letters_topic)
    for partition, own in sent.items():
        expected = [(n, record) for n, record in enumerate(own) if not is_readable_there(record)]
        found = [letter for letter in letters if letter.partition == partition]
        assert len(found) == len(expected)
        for letter, (offset, record) in zip(found, expected, strict=True):
            headers = tuple((name.decode(errors="replace"), value) for name, value in record.headers)
            kept = (letter.key, letter.value, letter.headers[:-4])
            assert kept == (record.key, record.value, headers), f"not byte for byte: {record!r}"
            assert dict(letter.headers)["opd-source-offset"] == str(offset).encode()
    return len(letters)


def _batches(partition: int, records: Sequence[Fuzzed]) -> Iterator[RawBatch]:
    """Cut into record batches of any size, compressed in any way."""
    rng = Random(len(records))
    batch: list[Raw] = []
    size, most = 0, rng.choice([1, 20, 500])
    for record in records:
        length = len(record.value or b"") + sum(len(value or b"") for _, value in record.headers)
        is_far = batch and abs(record.timestamp_ms - batch[0].timestamp_ms) > _FARTHEST_MS
        if batch and (is_far or len(batch) >= most or size + length > _BATCH_BYTES):
            yield RawBatch(partition, rng.choice(list(CODECS)), batch)
            batch, size, most = [], 0, rng.choice([1, 20, 500])
        batch.append(Raw(record.key, record.value, record.timestamp_ms, record.headers))
        size += length
    if batch:
        yield RawBatch(partition, "none", batch)
