"""Dead letters as they stand in Kafka: read, judged by today's rules, sent back."""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import NamedTuple, Self

from aiokafka import ConsumerRecord, TopicPartition

from schemas.wire import UnreadableRecord, read_command
from services.allocator.kafka import EVENTS_A_SEND_BYTES, Publisher, TailReader, partitioner
from services.allocator.owner import LogBounds, LogUnavailable, TooLarge
from services.allocator.records import Headers, OutRecord
from services.errors import OpdError
from services.settings import Settings
from services.topics import check_topics

APPENDED = ("opd-error", "opd-source-topic", "opd-source-partition", "opd-source-offset")
_RECORDS_A_READ = 500


class DeadLetterError(OpdError):
    """{place}: why it cannot be shown or replayed, and what to do."""


class Place(NamedTuple):
    """Where a dead letter stands in the dead-letter topic; written `{partition}-{offset}`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"


class Verdict(NamedTuple):
    """What today's rules say of a letter that is sent again now.

    Attributes:
        partition: where it would go: its key's, or where it was where it has no key.
        command: the command's type, None if it is still none.
        fault: why it is none; empty if it is one.
    """

    partition: int
    command: str | None
    fault: str


class Letter(NamedTuple):
    """One record of the dead-letter topic.

    Attributes:
        timestamp_ms: when it became a dead letter.
        headers: as they were sent, without the four that were appended.
        error: why it is here.
        source: the place it was read from, `{topic}[{partition}]@{offset}`; "unknown" where no allocator wrote it.
    """

    place: Place
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    error: str
    source: str

    @property
    def size(self) -> int:
        """Bytes of key and value."""
        return len(self.key or b"") + len(self.value or b"")


def read_letter(record: ConsumerRecord[bytes, bytes]) -> Letter:
    """Read one record of the dead-letter topic."""
    own, appended = record.headers[:-4], record.headers[-4:]
    place = Place(record.partition, record.offset)
    if tuple(name for name, _ in appended) != APPENDED or not all(value for _, value in appended):
        fault = "not written by an allocator"
        return Letter(place, record.timestamp, record.key, record.value, record.headers, fault, "unknown")
    error, topic, partition, offset = (printable(value) for _, value in appended)
    source = f"{topic}[{partition}]@{offset}"
    return Letter(place, record.timestamp, record.key, record.value, own, error, source)


def printable(value: bytes | str | None) -> str:
    """Give text that does nothing to a terminal."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else value or ""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class DeadLetters:
    """The dead letters of a running system; `async with` connects.

    Attributes:
        partitions: how many the topic has.
    """

    def __init__(self, settings: Settings, *, timeout_s: float = 30) -> None:
        self.partitions = 0
        self._settings = settings
        self._timeout_s = timeout_s
        self._reader = TailReader(settings)
        self._publisher = Publisher(settings)
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            TopicError: Kafka cannot be reached, or its topics do not fit.
        """
        topics = await check_topics(self._settings, timeout_s=self._timeout_s)
        self.partitions = topics[0].partitions
        self._cleanup.push_async_callback(self._reader.stop)
        self._cleanup.push_async_callback(self._publisher.stop)
        await self._reader.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    async def read(self, *, partition: int | None = None, since_ms: int = 0) -> AsyncIterator[Letter]:
        """Give the letters there are now, partition by partition, in order.

        Raises:
            DeadLetterError: there is no such partition, or Kafka failed.
        """
        if partition is not None and not partition < self.partitions:
            raise DeadLetterError(f"there is no partition {partition}\ntry: 0 to {self.partitions - 1}")
        numbers = range(self.partitions) if partition is None else [partition]
        # All ends are asked for first: what is replayed meanwhile may come back as a dead letter.
        for number, bounds in [(number, await self._bounds(number)) for number in numbers]:
            for start in range(bounds.first, bounds.end, _RECORDS_A_READ):
                for record in await self._records(number, start, min(start + _RECORDS_A_READ, bounds.end)):
                    if record.timestamp >= since_ms:
                        yield read_letter(record)

    async def at(self, place: Place) -> Letter:
        """Give the letter at a place.

        Raises:
            DeadLetterError: there is none, or Kafka failed.
        """
        if place.partition < self.partitions:
            bounds = await self._bounds(place.partition)
            if bounds.first <= place.offset < bounds.end:
                for record in await self._records(place.partition, place.offset, place.offset + 1):
                    return read_letter(record)
        raise DeadLetterError(f"no dead letter stands at {place}\ntry: opd dead-letters list")

    def judge(self, letter: Letter) -> Verdict:
        """Say what the allocator would make of the letter if it was sent again now."""
        if letter.key is None:
            source = letter.source.rpartition("[")[2].partition("]")[0]
            partition = int(source) if source.isdecimal() and int(source) < self.partitions else 0
        else:
            partition = partitioner(self.partitions)(letter.key)
        try:
            command = read_command(letter.key, letter.value, int(time.time() * 1000))
        except UnreadableRecord as fault:
            return Verdict(partition, None, str(fault))
        return Verdict(partition, type(command).__name__, "")

    async def replay(self, letter: Letter, partition: int) -> None:
        """Send the letter to the commands topic again: key, value and headers as they were sent first.

        Raises:
            DeadLetterError: Kafka did not take it, or did not say so.
        """
        record = OutRecord(letter.key, letter.value, list(letter.headers))
        try:
            is_large = letter.size > EVENTS_A_SEND_BYTES
            await self._publisher.send(self._settings.commands_topic, partition, [record], gzip=is_large)
        except TooLarge as error:
            raise DeadLetterError(f"{letter.place}: {error}") from error
        except LogUnavailable as error:
            text = f"{letter.place}: it is not known whether it was sent: {error}"
            raise DeadLetterError(f"{text}\ntry: again; a command keeps its id, so it is decided once (R2)") from error

    async def _bounds(self, number: int) -> LogBounds:
        with _kafka_failures():
            return await self._reader.bounds(TopicPartition(self._settings.dead_letters_topic, number))

    async def _records(self, number: int, start: int, end: int) -> Sequence[ConsumerRecord[bytes, bytes]]:
        with _kafka_failures():
            return await self._reader.read(TopicPartition(self._settings.dead_letters_topic, number), start, end)


@contextmanager
def _kafka_failures() -> Iterator[None]:
    try:
        yield
    except LogUnavailable as error:
        raise DeadLetterError(f"{error}\ntry: again, or look into Kafka's log") from error
