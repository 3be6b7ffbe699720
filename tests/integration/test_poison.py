"""What no decent sender writes: it becomes dead letters byte for byte, and stops nothing (R1, §4)."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from pydantic_core import from_json

from services.allocator.kafka import partitioner
from services.record_batches import UNREAD
from services.settings import Settings
from services.topics import ensure_topics
from tests.integration.raw import CODECS, Raw, batch_bytes, publish_batch_bytes, publish_raw, record_bytes
from tests.integration.running import RunningAllocator, read_all
from tests.integration.test_allocator import NOW_MS, a_doctor, audited
from tests.services.test_record_batches import ENCODERS
from tests.waiting import until

NOISE = Random(4).randbytes(1_040_000)
GOOD = a_doctor("d")


def good(number: int, headers: Sequence[tuple[bytes, bytes | None]] = ()) -> Raw:
    assert GOOD.value
    return Raw(GOOD.key, GOOD.value.replace(b'"c0"', b'"c%d"' % number), NOW_MS, headers)


def bad(key: bytes | None, value: bytes | None, *headers: tuple[bytes, bytes | None]) -> Raw:
    return Raw(key, value, NOW_MS, headers)


def make_topics(settings: Settings, partitions: int = 1) -> None:
    asyncio.run(ensure_topics(settings, partitions=partitions))


def check_letters(letters: Sequence[ConsumerRecord[Any, Any]], sent: Sequence[Raw]) -> None:
    """Each dead letter is its record byte for byte, with four headers behind its own."""
    assert len(letters) == len(sent)
    for letter, record in zip(letters, sent, strict=True):
        own = tuple((name.decode(errors="replace"), value) for name, value in record.headers)
        assert letter.key == record.key
        assert letter.value == record.value
        assert letter.headers[: len(own)] == own
        appended = [name for name, _ in letter.headers[len(own) :]]
        assert appended == ["opd-error", "opd-source-topic", "opd-source-partition", "opd-source-offset"]


ODD = [
    bad(b"h/d", NOISE[:1_000_000]),
    bad(b"h/d", NOISE[:1_000_000], *((b"h%d" % number, NOISE[:100]) for number in range(200))),
    bad(NOISE[:500_000], NOISE[:500_000]),
    bad(b"h/d", b"", (b"large", NOISE[:1_000_000])),
    bad(None, None),
    bad(None, b""),
    bad(b"", None, (b"", b"")),
    bad(b"\xff\xfe", b"\xff" * 300),
    bad(b"h/d", b"{}", (b"none", None), (b"none", None), (b"", None)),
    bad(b"h/d", b"{}", *((b"n", b"%d" % number) for number in range(200))),
    bad(b"h/d", b"{}", (b"opd-source-offset", None), (b"opd-error", b"\xff"), (b"opd-source-offset", b"9" * 5000)),
    bad(b"h/d", b"{}", (b"\xff\xfe", b"not a text"), (b"caf\xe9", None), ("診療".encode(), b"a text")),
    bad(None, None, (b"\xed\xa0\x80", None)),
]


def test_odd_records_are_dead_lettered_and_their_neighbours_decided(settings: Settings) -> None:
    make_topics(settings)
    publish_raw(settings, [good(0)])
    for number, odd in enumerate(ODD, start=1):
        publish_raw(settings, [odd])
        publish_raw(settings, [good(number, odd.headers[:3])])
    with RunningAllocator(settings):
        letters = read_all(settings, settings.dead_letters_topic, len(ODD))
        events = read_all(settings, settings.events_topic, len(ODD) + 1)
        audited(settings)
    check_letters(letters, ODD)
    assert [from_json(event.value)["type"] for event in events] == ["opd.DoctorRegistered.v1"] * (len(ODD) + 1)


def test_what_a_sender_compressed_is_read_and_kept_byte_for_byte(settings: Settings) -> None:
    make_topics(settings)
    large = bad(b"h/d", b"a large form " * 250_000)  # over 3 MB, where Kafka takes 1 MB
    odd_name = bad(None, b"{", (b"\xff", b"1"))
    for number, codec in enumerate(CODECS):
        publish_raw(settings, [odd_name, good(number, [(b"\xff", b"1")])], codec=codec)
        if codec != "none":
            publish_raw(settings, [large], codec=codec)
    with RunningAllocator(settings):
        letters = read_all(settings, settings.dead_letters_topic, 2 * len(CODECS) - 1)
        assert len(read_all(settings, settings.events_topic, len(CODECS))) == len(CODECS)
        audited(settings)
    check_letters(letters, [odd_name, *[odd_name, large] * (len(CODECS) - 1)])


BOMB_BYTES = {"gzip": 200, "snappy": 17, "lz4": 200, "zstd": 400}  # in MiB; none takes a megabyte in the topic
MOST_MEMORY_KB = 300 * 1024


def a_bomb(codec: str) -> bytes:
    content = ENCODERS[codec](record_bytes(0, bytes(BOMB_BYTES[codec] * 1024 * 1024)))
    return batch_bytes(content, codec, 1, timestamp_ms=NOW_MS)


def most_memory_kb(pid: int) -> int:
    """The most memory that a process ever had."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0  # not on macOS
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])


def test_a_batch_that_unpacks_to_more_than_memory_holds_is_told_and_stops_nothing(settings: Settings) -> None:
    make_topics(settings)
    rubbish = batch_bytes(ENCODERS["gzip"](record_bytes(0, b"{}")) + b"rubbish", "gzip", 1, timestamp_ms=NOW_MS)
    batches = [a_bomb(codec) for codec in BOMB_BYTES] + [rubbish]
    with RunningAllocator(settings) as allocator:
        for number, batch in enumerate(batches):
            publish_raw(settings, [good(number)])
            publish_batch_bytes(settings, [batch])
        publish_raw(settings, [good(len(batches))])
        read_all(settings, settings.events_topic, len(batches) + 1)
        letters = read_all(settings, settings.dead_letters_topic, len(batches))
        assert most_memory_kb(allocator.process.pid) < MOST_MEMORY_KB
    audited(settings)
    for number, letter in enumerate(letters):
        offset = 2 * number + 1
        assert (letter.key, letter.value) == (None, None)
        headers = dict(letter.headers)
        assert headers[UNREAD].startswith(b"%d-%d: over" % (offset, offset))
        assert headers["opd-error"] == b"its record batch is not read"
        assert headers["opd-source-offset"] == b"%d" % offset


async def _with_admin(
    settings: Settings, *, create: dict[str, dict[str, str]], alter: dict[str, dict[str, str]]
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        if create:
            await admin.create_topics([NewTopic(name, 2, 1, topic_configs=config) for name, config in create.items()])
        if alter:
            await admin.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, name, configs=config) for name, config in alter.items()]
            )
    finally:
        await admin.close()


def test_a_dead_letter_that_its_topic_does_not_take_is_waited_for_in_sight_and_never_dropped(
    settings: Settings,
) -> None:
    kept = {"retention.ms": "-1"}
    config = {
        settings.commands_topic: kept | {"max.message.bytes": "4000000"},
        settings.events_topic: kept,
        settings.dead_letters_topic: kept,
    }
    asyncio.run(_with_admin(settings, create=config, alter={}))
    too_large = bad(b"h/d", Random(1).randbytes(1_200_000))
    own = partitioner(2)(b"h/d")
    publish_raw(settings, [good(0)], partition=own)
    publish_raw(settings, [too_large], partition=1 - own)
    publish_raw(settings, [bad(None, b"behind it")], partition=1 - own)

    with RunningAllocator(settings, wait=False) as allocator:
        blocked = "waiting: a topic that takes larger records"
        until(lambda: allocator.partitions.get(str(1 - own)) == blocked, "it says what it waits for")
        assert len(read_all(settings, settings.events_topic, 1)) == 1, "the other partition goes on"
        for _ in range(30):  # not just between two attempts
            assert allocator.get("/health/ready")[0] == 503
            assert allocator.partitions == {str(own): "working", str(1 - own): blocked}
        assert f"{settings.dead_letters_topic} does not take a record of 1200" in allocator.log
        assert "raise its max.message.bytes" in allocator.log
        assert allocator.log.count("a topic that takes larger records") == 1, "it is said once"
        assert "a large unreadable record would not fit" in allocator.log, "it was noted when it started"

        larger = {settings.dead_letters_topic: kept | {"max.message.bytes": "5000000"}}
        asyncio.run(_with_admin(settings, create={}, alter=larger))
        allocator.wait_until_ready()
        letters = read_all(settings, settings.dead_letters_topic, 2)
        audited(settings)
    check_letters(letters, [too_large, bad(None, b"behind it")])
