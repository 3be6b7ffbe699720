"""All that the events topic says from now on: handed to whoever waits for an outcome, and to whoever follows."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from services.gateway.said import EventPlace, Place, place_of

# A command's events may be here before Kafka's word where it stands. So much longer they can be asked for.
_COMMANDS_REMEMBERED = 10_000
STREAM_EVENTS = 1_000


class Record(NamedTuple):
    """One event as it stands in its topic."""

    key: bytes
    value: bytes
    place: EventPlace


class Stream:
    """What one follower has not read yet; closed when that is too much, so that nobody else waits for it."""

    def __init__(self) -> None:
        self.closed = False
        self._records: asyncio.Queue[Record | None] = asyncio.Queue(STREAM_EVENTS + 1)

    def put(self, record: Record) -> None:
        """Add a record; the one that is too many closes the stream."""
        if self.closed:
            return
        if self._records.qsize() >= STREAM_EVENTS:
            self.close()
        else:
            self._records.put_nowait(record)

    def close(self) -> None:
        """End it; what stands in it already can still be read."""
        if not self.closed:
            self.closed = True
            self._records.put_nowait(None)

    async def get(self) -> Record | None:
        """Give the next record, when there is one; None at the end."""
        return await self._records.get()


class _Partition:
    """The last commands' events of one partition."""

    def __init__(self) -> None:
        self.events: OrderedDict[int, list[bytes]] = OrderedDict()
        self.awaited: dict[int, asyncio.Future[list[bytes] | None]] = {}
        self.whole_below = 0

    def add(self, place: EventPlace, value: bytes) -> None:
        """Remember an event; one that was said before is forgotten."""
        events = self.events.setdefault(place.offset, [])
        if place.n == len(events):
            events.append(value)
        while len(self.events) > _COMMANDS_REMEMBERED:
            self.events.popitem(last=False)


def _give_up(future: asyncio.Future[list[bytes] | None]) -> None:
    if not future.done():
        future.set_result(None)


class EventFeed:
    """What one process hears of the events topic: each partition's records in order, from its start on."""

    def __init__(self) -> None:
        self._partitions: defaultdict[int, _Partition] = defaultdict(_Partition)
        self._streams: defaultdict[bytes, set[Stream]] = defaultdict(set)

    def take(self, partition: int, records: Iterable[tuple[bytes | None, bytes | None]], *, at_end: bool) -> None:
        """Hear the next records of a partition.

        Args:
            partition: which one.
            records: key and value of each.
            at_end: whether nothing stood behind them. All events of a command stand in one record batch, or in
                neighbouring ones: so its last is heard when one of a later command is, or nothing is left.
        """
        heard, last = self._partitions[partition], -1
        for key, value in records:
            place = place_of(value)
            if place is None or key is None or value is None:
                continue
            heard.add(place, value)
            last = max(last, place.offset)
            for stream in self._streams.get(key, ()):
                stream.put(Record(key, value, place))
        heard.whole_below = max(heard.whole_below, last + at_end)
        for offset, future in heard.awaited.items():
            events = heard.events.get(offset)
            if offset < heard.whole_below and events is not None and not future.done():
                future.set_result(events)

    async def outcome(self, place: Place, *, timeout_s: float) -> list[bytes] | None:
        """Give all events of a command, when they are heard; None if they are not in time.

        One that was decided long before it is asked for here is not heard either. Only one may wait for a command.
        """
        heard = self._partitions[place.partition]
        if place.offset < heard.whole_below:
            return heard.events.get(place.offset)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[bytes] | None] = loop.create_future()
        heard.awaited[place.offset] = future
        too_late = loop.call_later(timeout_s, _give_up, future)  # a quarter of what asyncio.timeout costs
        try:
            return await future
        finally:
            too_late.cancel()
            del heard.awaited[place.offset]

    @contextmanager
    def following(self, key: bytes) -> Iterator[Stream]:
        """Give what is said of a department (`{facility_id}/{department_id}`) from now on."""
        stream = Stream()
        self._streams[key].add(stream)
        try:
            yield stream
        finally:
            self._streams[key].discard(stream)
            if not self._streams[key]:
                del self._streams[key]

    def close(self) -> None:
        """End all streams."""
        for streams in self._streams.values():
            for stream in streams:
                stream.close()
