"""TLS in front of a server that has none: the wheels' Valkey and PostgreSQL were built without it."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from services.stack.ports import LOOPBACK, free_ports
from tests.certificates import Certificates

_SSL_REQUEST_BYTES = 8


@contextmanager
def tls_in_front_of(port: int, certificates: Certificates, *, asks_first: bool = False) -> Iterator[int]:
    """Give a port that speaks TLS and hands on what it hears to another one.

    `asks_first`: as clients of PostgreSQL begin, who ask in plain text whether there is TLS.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.certificate, certificates.key)
    (own,) = free_ports(1)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            if asks_first:
                await reader.readexactly(_SSL_REQUEST_BYTES)
                writer.write(b"S")
            await writer.start_tls(context)
            server_reader, server_writer = await asyncio.open_connection(LOOPBACK, port)
            writers.append(server_writer)
            both_ways = {
                asyncio.create_task(_copy(reader, server_writer)),
                asyncio.create_task(_copy(server_reader, writer)),
            }
            await asyncio.wait(both_ways, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.IncompleteReadError):
            return  # who called does not trust us, or left
        finally:
            for each in writers:
                each.transport.abort()
                with suppress(OSError):
                    await each.wait_closed()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

    server = run(asyncio.start_server(hand_on, LOOPBACK, own))
    try:
        yield own
    finally:
        loop.call_soon_threadsafe(server.close)
        run(_end_all())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while read := await reader.read(65_536):
            writer.write(read)
            await writer.drain()


async def _end_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
