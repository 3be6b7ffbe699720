"""What is refused before it costs anything: too much at once, bodies too large or too slow; and the counting."""

import asyncio
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.words import MAX_RECORD_BYTES
from services.gateway.limits import Limits, limit_headers
from services.gateway.metrics import GatewayMetrics
from services.gateway.problems import MEDIA_TYPE, OVERLOADED, TOO_LARGE, TOO_SLOW, Problem

if TYPE_CHECKING:
    from services.telemetry.spans import Spans

MAX_IN_FLIGHT = 512
MAX_STREAMS = 1000
BODY_WITHIN_S = 10.0
_STREAMS = "/events"
_ALWAYS = ("/health/", "/metrics")


class Guard:
    """The outermost layer of the application.

    A request's whole body is read here, so that nothing behind it waits for a client that sends slowly.
    """

    def __init__(
        self, app: ASGIApp, metrics: GatewayMetrics, limits: Limits | None = None, spans: "Spans | None" = None
    ) -> None:
        self._app, self._metrics, self._limits, self._spans = app, metrics, limits, spans
        metrics.in_flight.set_function(lambda: self._in_flight)
        self._in_flight = 0
        self._streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or refuse it."""
        if scope["type"] != "http" or scope["path"].startswith(_ALWAYS):
            await self._app(scope, receive, send)
        elif scope["path"] == _STREAMS:
            await self._let_in_stream(scope, receive, send)
        else:
            await self._let_in(scope, receive, send)

    async def _let_in_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._streams >= MAX_STREAMS:
            await self._refuse(scope, send, Problem(OVERLOADED))
            return
        self._streams += 1
        self._metrics.streams.inc()
        try:
            await self._limited(scope)
        except Problem as problem:
            await self._refuse(scope, send, problem)
        else:
            await self._counted(scope, receive, send)
        finally:
            self._streams -= 1
            self._metrics.streams.dec()

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._in_flight >= MAX_IN_FLIGHT:
            await self._refuse(scope, send, Problem(OVERLOADED))
            return
        self._in_flight += 1
        try:
            await self._limited(scope)
            if "opd.whole" in scope:
                body = await _body(scope, receive)
            else:
                async with asyncio.timeout(BODY_WITHIN_S):
                    body = await _body(scope, receive)
        except TimeoutError:
            await self._refuse(scope, send, Problem(TOO_SLOW))
        except Problem as problem:
            await self._refuse(scope, send, problem)
        else:
            if body is not None:
                await self._counted(scope, _Once(body, receive), send)
        finally:
            self._in_flight -= 1

    async def _limited(self, scope: Scope) -> None:
        if self._limits is not None:
            await self._limits.count_address(scope)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *limit_headers(scope)]
            await send(message)

        with nullcontext() if self._spans is None else self._spans.request(scope) as span:
            try:
                await self._app(scope, receive, noting)
            finally:
                route = getattr(scope.get("route"), "path", "other")  # never the path: it names tokens
                self._metrics.answered(scope["method"], route, status, time.perf_counter() - began)
                if self._spans is not None and span is not None:
                    self._spans.answered(span, scope["method"], route, status)

    async def _refuse(self, scope: Scope, send: Send, problem: Problem) -> None:
        # The rest of a body is not read: the connection ends with the answer.
        headers = {"Content-Type": MEDIA_TYPE, "Connection": "close", **problem.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()] + limit_headers(scope)
        self._metrics.answered(scope["method"], "refused at the door", problem.kind.status, 0.0)
        await send({"type": "http.response.start", "status": problem.kind.status, "headers": raw})
        await send({"type": "http.response.body", "body": problem.body})


class _Once:
    """Gives a body that was read already, then whatever comes: that the client leaves."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._message: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive

    async def __call__(self) -> Message:
        message, self._message = self._message, None
        return message if message is not None else await self._receive()


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """Give the body; None if the client left before its end."""
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > MAX_RECORD_BYTES:
        raise Problem(TOO_LARGE)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_RECORD_BYTES:
            raise Problem(TOO_LARGE)
        if not message.get("more_body"):
            return bytes(body)
