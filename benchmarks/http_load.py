"""Requests over many connections at once: a client that takes little of the processor that its servers want."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import httptools
import httpx

ALL_WITHIN_S = 600.0


class Answer(NamedTuple):
    """What came back, and how long that took from the write of the request to the answer's last byte."""

    status: int
    body: bytes
    took_ms: float


class Load(NamedTuple):
    """All answers, in the order of the requests, and the time that passed until the last one."""

    answers: list[Answer]
    took_s: float


class _Connection(asyncio.Protocol):
    """Asks one thing after the other, until nothing is left to be asked."""

    def __init__(self, asked: Iterator[tuple[int, bytes]], answers: dict[int, Answer]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked, self._answers = asked, answers
        self._parser = httptools.HttpResponseParser(self)
        self._number, self._body, self._began = -1, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the server closed a connection"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def ask(self) -> None:
        self._number, request = next(self._asked, (-1, b""))
        if not request:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._body, self._began = b"", time.perf_counter()
        self._transport.write(request)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        took_ms = (time.perf_counter() - self._began) * 1000
        self._answers[self._number] = Answer(self._parser.get_status_code(), self._body, took_ms)
        self.ask()


def request_to(url: str, method: str, path: str, body: bytes = b"") -> bytes:
    """Give a request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {httpx.URL(url).netloc.decode()}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


async def ask(url: str, requests: Sequence[bytes], *, connections: int) -> Load:
    """Send requests, each connection its next one when the last is answered.

    Raises:
        ConnectionError: a connection ended before its answer.
        TimeoutError: they were not all answered within `ALL_WITHIN_S`.
    """
    where, loop = httpx.URL(url), asyncio.get_running_loop()
    asked, answers = iter(enumerate(requests)), dict[int, Answer]()
    async with asyncio.timeout(ALL_WITHIN_S):
        opening = [
            loop.create_connection(lambda: _Connection(asked, answers), where.host, where.port or 80)
            for _ in range(connections)
        ]
        opened = [connection for _, connection in await asyncio.gather(*opening)]
        began = time.perf_counter()
        for connection in opened:
            connection.ask()
        await asyncio.gather(*(connection.ended for connection in opened))
    return Load([answers[number] for number in range(len(requests))], time.perf_counter() - began)
