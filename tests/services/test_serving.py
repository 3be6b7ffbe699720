import asyncio
import gc
import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest
import uvicorn
from prometheus_client import CollectorRegistry

from services.health import health_app
from services.serving import NotStarted, run_service, serve
from services.stack.ports import LOOPBACK
from tests.console import OPD
from tests.waiting import WITHIN_S


@pytest.fixture(autouse=True)
def signals_and_collector_given_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    for number, handler in before.items():
        signal.signal(number, handler)


def server_at(port: int = 0) -> uvicorn.Server:
    app = health_app(lambda: (True, {}), lambda: (True, {}), CollectorRegistry())
    return uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, lifespan="off", log_config=None))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_it_serves_ends_it_and_lets_it_clean_up(number: signal.Signals) -> None:
    done = []

    async def service() -> None:
        try:
            signal.raise_signal(number)
            await asyncio.Event().wait()
        finally:
            done.append("cleaned up")

    run_service(service())
    assert done == ["cleaned up"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_serves_lets_it_finish(number: signal.Signals) -> None:
    done = []

    async def tell() -> None:
        signal.raise_signal(number)

    async def service() -> None:
        server = server_at()
        server.config.callback_notify, server.config.timeout_notify = tell, 0  # uvicorn calls it while it serves
        await serve(server, "test")
        await asyncio.sleep(0)  # where it would be cancelled
        done.append("finished")

    run_service(service())
    assert done == ["finished"]


def test_a_port_that_is_taken_is_said() -> None:
    with (
        socket.create_server((LOOPBACK, 0)) as taken,
        pytest.raises(NotStarted, match="opd test could not start"),
    ):
        run_service(serve(server_at(taken.getsockname()[1]), "test"))


def test_a_cancellation_that_nobody_asked_for_is_an_error() -> None:
    async def service() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_service(service())


def test_services_that_wait_for_kafka_end_when_they_are_told_to() -> None:
    with socket.create_server((LOOPBACK, 0)) as mute:
        mute.settimeout(WITHIN_S)
        where = f"{LOOPBACK}:{mute.getsockname()[1]}"
        for name in ("allocator", "gateway", "history"):
            with subprocess.Popen(  # noqa: S603  our own command
                [*OPD, name, "--http-port", "0"],
                env={**os.environ, "OPD_KAFKA_BOOTSTRAP_SERVERS": where, "PYTHONWARNINGS": "error"},
                stderr=subprocess.PIPE,
            ) as process:
                asking, _ = mute.accept()
                with asking:
                    process.terminate()
                    _, said = process.communicate(timeout=WITHIN_S)
                assert process.returncode == 0, said.decode()
                assert b"Traceback" not in said
