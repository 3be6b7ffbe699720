"""A running `opd gateway` for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from services.settings import Settings
from services.stack.ports import LOOPBACK, free_ports
from services.stack.process import Process
from services.stack.system import environment
from tests.console import OPD


class RunningGateway:
    """One process; `start` after `kill` comes back at the same address."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        """Start nothing yet; its log stands in the folder."""
        self._settings = settings.model_copy(update={"http_port": free_ports(1)[0]})
        self.url = f"http://{LOOPBACK}:{self._settings.http_port}"
        self.http = httpx.Client(base_url=self.url, timeout=40)
        self.process = Process("gateway", folder / f"gateway-{self._settings.http_port}.log")

    def start(self) -> None:
        """Start it and return when it is ready."""
        self.process.start([*OPD, "gateway"], {**environment(self._settings), "PYTHONWARNINGS": "error"})
        self.process.wait_until(partial(self._probe), "/health/ready", timeout_s=60, hint="look into its log")

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send a POST."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, json=body, headers=named)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Send a GET."""
        return self.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def _probe(self) -> None:
        self.get("/health/ready").raise_for_status()


@contextmanager
def running_gateway(settings: Settings, folder: Path) -> Iterator[RunningGateway]:
    """Run one."""
    gateway = RunningGateway(settings, folder)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.http.close()
        gateway.process.stop()
