"""A little of `make fuzz-http`, over a socket, with the model as the engine."""

import asyncio
import threading
import uuid

import pytest
import uvicorn

from services.gateway import history
from services.gateway.protocol import LimitedProtocol
from services.history.schema import migrate
from services.stack.ports import LOOPBACK, free_ports
from tests.gateway.world import POOL, gateway
from tests.http_fuzz.fuzz import fuzz
from tests.servers import Database
from tests.waiting import until

KNOWN = {**POOL, "doctor_id": "dr-rao", "token_id": "blr1.cardiology.20261123.1", "source": "ONLINE"}


def test_no_answer_is_undocumented_or_a_server_error(
    postgres_server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "REACHED_WITHIN_S", 0.01)
    [port] = free_ports(1)
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        schema = f"test_{uuid.uuid4().hex[:12]}"
        await migrate(postgres_server.url, schema)
        async with gateway(postgres_server.url, schema) as world:
            await world.register()
            await world.book("p1")
            servers.append(uvicorn.Server(uvicorn.Config(world.app, port=port, http=LimitedProtocol, log_config=None)))
            await servers[0].serve()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        until(lambda: servers and servers[0].started, "it listens")
        fuzzed = fuzz(f"http://{LOOPBACK}:{port}", KNOWN, requests_each=12, stories=10)
    finally:
        if servers:
            servers[0].should_exit = True
        thread.join()
    assert fuzzed.requests.total() > 150
    assert {200, 201, 404, 422} <= fuzzed.statuses.keys()
