"""Events as they come (Server-Sent Events): each once, from where the reader was, and nobody waits for a slow one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Protocol

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from services.allocator.owner import LogUnavailable
from services.gateway.feed import EventFeed, Record, Stream
from services.gateway.said import EventPlace

ALIVE_EVERY_S = 15.0
READ_WITHIN_S = 30.0
RETRY_MS = 1000


class EventLog(Protocol):
    """All that was said."""

    def events_after(self, place: EventPlace) -> AsyncIterator[Record]:
        """Give a partition's events behind one, up to now, repeats among them; raises LogUnavailable."""


async def told(
    feed: EventFeed, log: EventLog, key: bytes, last: EventPlace | None, seen: Callable[[Record], bytes | None]
) -> AsyncGenerator[bytes]:
    """Give what is said of a department, as it stands in a stream, until the reader is too slow.

    Args:
        feed: what is said from now on.
        log: what was said before.
        key: the department's.
        last: the last event that the reader had; None: it wants to hear from now on.
        seen: gives an event's JSON as the reader may see it; None if it is not for them.
    """
    with feed.following(key) as stream:
        yield format_sse_event(comment="following", retry=RETRY_MS)
        async for record in _said(stream, log, last):
            if record is None:
                yield KEEPALIVE_COMMENT
            elif record.key == key and (last is None or record.place > last):
                last = record.place  # in a department ids go up, repeats apart
                text = seen(record)
                if text is not None:
                    yield format_sse_event(id=str(last), data_str=text.decode())


async def _said(stream: Stream, log: EventLog, last: EventPlace | None) -> AsyncIterator[Record | None]:
    """Give what stands in the log, then what comes; None when nothing has come for a while."""
    if last is not None:
        # What comes meanwhile waits in the stream: between the two nothing is missed.
        try:
            async for record in log.events_after(last):
                yield record
        except LogUnavailable:
            return  # the reader comes again, from where it is
    while True:
        try:
            async with asyncio.timeout(ALIVE_EVERY_S):
                heard = await stream.get()
        except TimeoutError:
            yield None
            continue
        if heard is None:
            return
        yield heard


class ClientStalled(Exception):  # noqa: N818  it is what happened
    """A client reads nothing."""


class EventStream(StreamingResponse):
    """The answer that a stream is; the connection of a reader that takes nothing for long is cut."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], status_code: int = 200) -> None:
        super().__init__(events, status_code, headers={"Cache-Control": "no-store"})
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client leaves, or is too slow."""

        async def bounded(message: Message) -> None:
            try:
                async with asyncio.timeout(READ_WITHIN_S):
                    await send(message)
            except TimeoutError:
                scope["opd.abort"]()
                raise ClientStalled from None

        try:
            await super().__call__(scope, receive, bounded)
        except* ClientStalled:
            pass
        finally:
            await self._events.aclose()
