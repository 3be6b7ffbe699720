"""The gateway in memory, at an address of its own: for clients that want a socket."""

import asyncio
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from services.gateway.protocol import LimitedProtocol
from services.history.schema import migrate
from services.stack.ports import LOOPBACK, free_ports
from tests.gateway.world import POOL, gateway
from tests.waiting import until

KNOWN = {**POOL, "doctor_id": "dr-rao", "token_id": "blr1.cardiology.20261123.1", "source": "ONLINE"}


@contextmanager
def served(postgres_url: str) -> Iterator[str]:
    """Give the address of one in a thread of its own, which knows the things of `KNOWN`."""
    [port] = free_ports(1)
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        schema = f"test_{uuid.uuid4().hex[:12]}"
        await migrate(postgres_url, schema)
        async with gateway(postgres_url, schema) as world:
            await world.register()
            await world.book("p1")
            servers.append(uvicorn.Server(uvicorn.Config(world.app, port=port, http=LimitedProtocol, log_config=None)))
            await servers[0].serve()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        until(lambda: servers and servers[0].started, "it listens")
        yield f"http://{LOOPBACK}:{port}"
    finally:
        if servers:
            servers[0].should_exit = True
        thread.join()
