"""A service that answers HTTP, and how it ends: by SIGTERM or Ctrl-C, whenever that comes."""

import asyncio
import gc
import signal
from collections.abc import Coroutine
from typing import Any

import uvicorn
import uvloop

from services.errors import OpdError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class NotStarted(OpdError):  # noqa: N818  it is what happened
    """The service could not begin: a server went away meanwhile, or its port is taken."""


def run_service(service: Coroutine[Any, Any, None]) -> None:
    """Run a service in this process, whose signals it takes over; until it serves they cancel it."""
    # What lives as long as the process is looked through no more; a batch's or a request's own objects go without the
    # collector.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        running = loop.create_task(service)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(running.cancel))
        try:
            runner.run(_ended(running))
        except asyncio.CancelledError:
            if not running.cancelling():
                raise


async def _ended(running: asyncio.Task[None]) -> None:
    await running


async def serve(server: uvicorn.Server, name: str) -> None:
    """Answer HTTP until the server is told to stop, by a signal or by `should_exit`.

    Raises:
        NotStarted: it could not begin.
    """
    # uvicorn takes them from here on, and raises those that it got once more when it has stopped: to itself, then.
    for number in _SIGNALS:
        signal.signal(number, server.handle_exit)
    try:
        await server.serve()
    except SystemExit as error:  # uvicorn's way to say so
        raise NotStarted(f"opd {name} could not start; the lines above say why") from error
