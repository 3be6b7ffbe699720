"""What clients may do to the door: send too much, too slowly, too often, and leave. Over a real socket."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from services.gateway import guard, protocol, streams
from services.gateway.feed import EventFeed
from services.gateway.guard import Guard
from services.gateway.metrics import GatewayMetrics
from services.gateway.protocol import LimitedProtocol
from services.gateway.streams import EventStream, told
from services.stack.ports import LOOPBACK, free_ports
from tests.gateway.test_streams import KEY, Log, event
from tests.waiting import until


class Door:
    """A server with our door, and a little behind it."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.feed = EventFeed()
        self.let_go = threading.Event()
        self.inside = 0
        self.metrics = GatewayMetrics()
        app = FastAPI()
        app.add_middleware(Guard, metrics=self.metrics)

        @app.post("/echo")
        async def echo(request: Request) -> JSONResponse:
            return JSONResponse({"bytes": len(await request.body())})

        @app.get("/wait")
        async def wait() -> None:
            self.inside += 1
            await asyncio.to_thread(self.let_go.wait)

        @app.get("/events", response_class=EventStream)
        async def events() -> EventStream:
            return EventStream(told(self.feed, Log(), KEY, None, lambda record: record.value))

        config = uvicorn.Config(app, port=self.port, http=LimitedProtocol, log_config=None, timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def raw(self, *pieces: bytes, until_closed: bool = True) -> bytes:
        """Send pieces as they are, and read until the end."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        for piece in pieces:
            writer.write(piece)
            try:
                await writer.drain()
            except ConnectionError:
                break
        try:
            return await asyncio.wait_for(reader.read(-1 if until_closed else 4096), 20)
        except ConnectionError:
            return b""
        finally:
            writer.close()


@contextmanager
def running() -> Iterator[Door]:
    door = Door()
    thread = threading.Thread(target=door.server.run)
    thread.start()
    with ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(setattr, door.server, "should_exit", True)
        stack.callback(door.let_go.set)
        until(lambda: door.server.started, "it listens")
        yield door


@pytest.fixture
def door() -> Iterator[Door]:
    with running() as found:
        yield found


HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_a_body_of_a_gigabyte_is_refused_and_not_read(door: Door) -> None:
    announced = asyncio.run(door.raw(HEAD + b"Content-Length: 1073741824\r\n\r\n" + b"x" * 1000))
    assert announced.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in announced
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    endless = asyncio.run(door.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 1600))
    assert endless == b"" or endless.startswith(b"HTTP/1.1 413 "), "cut off, whether or not it listened"
    assert door.counted("opd_http_requests_total", method="POST", route="refused at the door", status="413") == 2
    largest = asyncio.run(door.raw(HEAD + b"Content-Length: 16384\r\nConnection: close\r\n\r\n" + b"x" * 16384))
    assert largest.endswith(b'{"bytes":16384}')


def test_a_body_that_does_not_come_is_not_waited_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_WITHIN_S", 0.2)
    assert asyncio.run(door.raw(HEAD + b"Content-Length: 10\r\n\r\n123")).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_does_not_come_or_does_not_end_is_cut_off(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = [b"X-%d: " % number + b"x" * 8000 + b"\r\n" for number in range(100)]
    assert asyncio.run(door.raw(HEAD, *endless)) == b""
    monkeypatch.setattr(protocol, "HEAD_WITHIN_S", 0.2)
    assert asyncio.run(door.raw(b"GET /e")) == b""
    assert asyncio.run(door.raw()) == b""


def test_a_client_that_leaves_leaves_nothing(door: Door) -> None:
    async def leave() -> None:
        _, writer = await asyncio.open_connection(LOOPBACK, door.port)
        writer.write(HEAD + b"Content-Length: 10\r\n\r\n123")
        await writer.drain()
        writer.transport.abort()

    for _ in range(20):
        asyncio.run(leave())
    assert httpx.post(f"http://{LOOPBACK}:{door.port}/echo", content=b"12").json() == {"bytes": 2}


def test_too_much_at_once_is_refused_at_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_IN_FLIGHT", 3)

    async def run() -> None:
        async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{door.port}", timeout=30) as client:
            inside = [asyncio.create_task(client.get("/wait")) for _ in range(3)]
            await asyncio.to_thread(until, lambda: door.inside == 3, "three are inside")
            refused = await client.get("/wait")
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/overloaded")
            assert refused.headers["Retry-After"] == "1"
            door.let_go.set()
            assert [(await each).status_code for each in inside] == [200, 200, 200]
            assert (await client.post("/echo", content=b"1")).status_code == 200, "there is room again"

    asyncio.run(run())


def test_a_reader_that_reads_nothing_is_cut_off(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "READ_WITHIN_S", 0.3)

    async def run() -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, door.port, limit=1024)
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        loop = await asyncio.to_thread(_loop_of, door)
        large = event(1, text="x" * 100_000)
        for offset in range(200):  # 20 MB: more than sockets hold
            value = large.replace(b'"0-1-0"', b'"0-%d-0"' % (offset + 1))
            loop.call_soon_threadsafe(_say, door, value)
        await asyncio.to_thread(until, lambda: door.counted("opd_event_streams") == 0, "it was cut off")
        writer.close()

    asyncio.run(run())
    until(lambda: not door.feed._streams, "nobody follows")


def _say(door: Door, value: bytes) -> None:
    door.feed.take(0, [(KEY, value)], at_end=True)


def _loop_of(door: Door) -> Any:
    until(lambda: door.feed._streams, "somebody follows")
    [[connection]] = [list(door.server.server_state.connections)]
    return connection.loop


def test_a_reader_that_leaves_is_forgotten(door: Door) -> None:
    with httpx.stream("GET", f"http://{LOOPBACK}:{door.port}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        until(lambda: door.feed._streams, "somebody follows")
    until(lambda: not door.feed._streams, "nobody follows")
