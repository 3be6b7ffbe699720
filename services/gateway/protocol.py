"""HTTP/1.1 as uvicorn reads it with httptools, and two limits that it lacks: on how long a head is, and how slow."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32 * 1024
HEAD_WITHIN_S = 20.0


class LimitedProtocol(HttpToolsProtocol):
    """One connection; it ends when a request's head is too long, or too slow to come."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first head."""
        super().connection_made(transport)
        self._head_bytes: int | None = 0
        self._head_limit: asyncio.TimerHandle | None = self.loop.call_later(HEAD_WITHIN_S, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes while a head is not whole."""
        super().data_received(data)
        if self._head_bytes is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._end()
        elif self._head_limit is None and not self.transport.is_closing():
            self._head_limit = self.loop.call_later(HEAD_WITHIN_S, self._end)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._wait_no_more()
        self._head_bytes = 0
        super().on_message_begin()
        self.scope["opd.abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]  # ours alone

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._head_bytes = None
        self._wait_no_more()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is whole: who reads it need not watch the clock."""
        self.scope["opd.whole"] = True  # type: ignore[typeddict-unknown-key]  # ours alone
        super().on_message_complete()

    def _wait_no_more(self) -> None:
        if self._head_limit is not None:
            self._head_limit.cancel()
            self._head_limit = None

    def _end(self) -> None:
        self.transport.abort()
