"""A TCP proxy whose connections can be cut, slowed, held up, or robbed of their replies."""

import asyncio
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from services.stack.ports import LOOPBACK, free_ports

Result = TypeVar("Result")
PIECE = 65_536


class Proxy:
    """One port of the loopback that leads to another; `with` opens and closes it.

    Attributes:
        port: where it listens.
        target: the port that new connections are led to.
        delay_s: how long each piece takes, in each direction.
        swallows: says of a connection's newest request whether what the server says to it is thrown away.
        refuses: new connections are closed at once.
    """

    def __init__(self, target: int) -> None:
        (self.port,) = free_ports(1, but=[target])
        self.target = target
        self.delay_s = 0.0
        self.swallows: Callable[[bytes], bool] = nothing
        self.refuses = False
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy of port {target}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, LOOPBACK, self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many connections go through it now."""
        return len(self._writers) // 2

    def cut(self) -> int:
        """Reset every connection; gives how many there were."""
        return self._run(self._cut())

    def hold(self) -> None:
        """Let nothing through until `release`; connections stay open."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def release(self) -> None:
        """Let everything through again, what was held up first."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def _run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _cut(self) -> int:
        cut = self.connections
        for writer in self._writers:
            writer.transport.abort()
        return cut

    async def _close(self) -> None:
        self._server.close()
        self._flows.set()
        await self._cut()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        ends = [writer]
        try:
            if self.refuses:
                return
            there, back = await asyncio.open_connection(LOOPBACK, self.target)
            ends.append(back)
            self._writers.update(ends)
            asked = bytearray()
            pumps = [
                asyncio.ensure_future(self._ask(reader, back, asked)),
                asyncio.ensure_future(self._reply(there, writer, asked)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # the server is down: the client sees its connection closed
        finally:
            self._writers.difference_update(ends)
            for end in ends:
                end.transport.abort()

    async def _ask(self, client: StreamReader, server: StreamWriter, asked: bytearray) -> None:
        while data := await client.read(PIECE):
            asked[:] = data
            await self._pass(data, server)

    async def _reply(self, server: StreamReader, client: StreamWriter, asked: bytearray) -> None:
        while data := await server.read(PIECE):
            if not self.swallows(bytes(asked)):
                await self._pass(data, client)

    async def _pass(self, data: bytes, sink: StreamWriter) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self._flows.wait()
        sink.write(data)
        await sink.drain()


def nothing(_request: bytes) -> bool:
    """Swallow no reply."""
    return False


def everything(_request: bytes) -> bool:
    """Swallow every reply."""
    return True


def acknowledgements(request: bytes) -> bool:
    """Swallow what Kafka says to a produce request: its api key, behind the length, is 0."""
    return request[4:6] == b"\0\0"
