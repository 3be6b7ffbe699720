"""A day is followed through a gateway: when what a screen shows is said to be old, and when not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic_core import from_json, to_json

from services.board.channel import Channel
from services.board.following import Followings, Which
from services.board.gateway import Gateway
from services.board.metrics import BoardMetrics
from services.gateway.streams import RETRY_MS
from tests.waiting import WITHIN_S

WHICH = Which("blr1", "cardiology", "2026-11-23")
READS: dict[str, Any] = {
    "/departments": {"departments": [{"department_id": "cardiology", "position": "0-1-0"}]},
    "/doctors": {"doctors": []},
    "/tokens": {"tokens": []},
}


class _Events(httpx.AsyncByteStream):
    """What the gateway says of a department, as the test goes on."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self.said.get()) is not None:
            yield chunk


class _Gateway:
    """A gateway that can be away."""

    def __init__(self) -> None:
        self.streams: list[_Events] = []
        self.is_there = True

    def answer(self, request: httpx.Request) -> httpx.Response:
        if not self.is_there:
            return httpx.Response(503)
        if request.url.path != "/events":
            return httpx.Response(200, content=to_json(READS[request.url.path]))
        self.streams.append(_Events())
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=self.streams[-1])


async def _shown(channel: Channel, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Give the first state that is as wished; each one before it was shown too."""
    news = asyncio.Event()
    channel.add(news)
    async with asyncio.timeout(WITHIN_S):
        while True:
            news.clear()
            if channel.chunk and holds(state := from_json(channel.chunk)):
                return dict(state)
            await news.wait()


def _event(number: int, kind: str, **data: Any) -> bytes:
    event = {"id": f"0-{number}-0", "type": f"opd.{kind}.v1", "time": "2026-11-23T09:00:00.000Z"}
    said = to_json({**event, "data": {"date": WHICH.date, **data}}).decode()
    return format_sse_event(id=f"0-{number}-0", data_str=said)


def test_what_is_said_beside_events_makes_nothing_stale() -> None:
    """The gateway says how soon to come back, and that it lives: a board took the first for an event that broke it."""

    async def run() -> None:
        gateway = _Gateway()
        transport = httpx.MockTransport(gateway.answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            followings = Followings(Gateway(http, lambda: "token"), {}, BoardMetrics())
            async with followings.reading(WHICH) as following:
                said = gateway.streams[0].said
                said.put_nowait(format_sse_event(comment="following", retry=RETRY_MS))
                said.put_nowait(KEEPALIVE_COMMENT)
                said.put_nowait(_event(2, "SlotClosed", slot="09:00-10:00"))
                state = await _shown(following.channel, lambda each: each["last_id"] == "0-2-0" or not each["current"])
                assert state["current"]
                assert len(gateway.streams) == 1, "it was followed in one go"

                said.put_nowait(None)  # as when the gateway's token runs out: no screen is told
                said = (await _next(gateway, 2)).said
                said.put_nowait(_event(3, "SlotClosed", slot="10:00-11:00"))
                state = await _shown(following.channel, lambda each: each["last_id"] == "0-3-0" or not each["current"])
                assert state["current"]

                gateway.is_there = False
                said.put_nowait(None)
                assert (await _shown(following.channel, lambda each: not each["current"]))["last_id"] == "0-3-0"
                gateway.is_there = True
                await _shown(following.channel, lambda each: bool(each["current"]))
            await followings.close()

    asyncio.run(run())


async def _next(gateway: _Gateway, number: int) -> _Events:
    async with asyncio.timeout(WITHIN_S):
        while len(gateway.streams) < number:  # noqa: ASYNC110  the board comes by itself
            await asyncio.sleep(0.01)
    return gateway.streams[number - 1]
