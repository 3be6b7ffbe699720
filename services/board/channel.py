"""From one who knows to many who look: always the newest state, never a queue."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from pydantic_core import to_json


class Channel:
    """The newest state of one thing, written once for all its readers.

    Attributes:
        digest: of the state; empty while there is none. Whoever has the same has the same state, from any board.
        chunk: the state as it stands in a stream.
    """

    def __init__(self) -> None:
        self.digest = ""
        self.chunk = b""
        self._readers: set[asyncio.Event] = set()

    @property
    def is_read(self) -> bool:
        """Whether anybody reads it."""
        return bool(self._readers)

    def publish(self, state: Mapping[str, Any]) -> None:
        """Show this from now on; what is shown already disturbs nobody."""
        data = to_json(state)
        digest = blake2b(data, digest_size=8).hexdigest()
        if digest != self.digest:
            self.digest, self.chunk = digest, data
            for reader in self._readers:
                reader.set()

    def add(self, reader: asyncio.Event) -> None:
        """Set this from now on when there is something new."""
        self._readers.add(reader)

    def remove(self, reader: asyncio.Event) -> None:
        """Do so no more."""
        self._readers.discard(reader)


async def states(channels: Sequence[Channel], last_id: str | None = None) -> AsyncGenerator[bytes]:
    """Give the channels' states as they stand in a stream: the newest at once, then as they change.

    A reader that is slow is given the newest when it is ready for it, and not what was between.

    Args:
        channels: what the reader looks at.
        last_id: the id of the last thing that it was given: what it has still is not given again.
    """
    given = (last_id or "").split("-")
    if len(given) != len(channels):
        given = [""] * len(channels)
    news = asyncio.Event()
    for channel in channels:
        channel.add(news)
    try:
        while True:
            news.clear()
            for number, channel in enumerate(channels):
                if channel.digest not in {"", given[number]}:
                    given[number] = channel.digest
                    yield b"id: %b\ndata: %b\n\n" % ("-".join(given).encode(), channel.chunk)
            await news.wait()
    finally:
        for channel in channels:
            channel.remove(news)
