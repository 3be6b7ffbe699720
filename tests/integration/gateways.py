"""A running `opd gateway` for tests, with an allocator and a projector behind it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from services.settings import Settings
from services.stack.ports import LOOPBACK, free_ports
from services.stack.process import Process
from services.stack.system import environment
from tests.console import OPD
from tests.waiting import WITHIN_S

WAITS = {"Prefer": "wait=30"}  # the gateway waits 5 s for an outcome; beside others it may take longer


class Running:
    """One service as a process; `start` after `kill` comes back at the same address."""

    def __init__(self, name: str, settings: Settings, folder: Path) -> None:
        """Start nothing yet; its log stands in the folder."""
        self._settings = settings.model_copy(
            update={"http_port": free_ports(1)[0], "vault_key_file": folder / "vault.key"}
        )
        self.url = f"http://{LOOPBACK}:{self._settings.http_port}"
        self.http = httpx.Client(base_url=self.url, headers=WAITS, timeout=60)
        self._name = name
        self.process = Process(name, folder / f"{name}.log", grace_s=WITHIN_S)

    def start(self) -> None:
        """Start it; it is not ready yet."""
        self.process.start([*OPD, self._name], {**environment(self._settings), "PYTHONWARNINGS": "error"})

    def wait(self) -> None:
        """Return when it is ready."""
        self.process.wait_until(self._probe, "/health/ready", timeout_s=120, hint="look into its log")

    def stop(self) -> None:
        """End it."""
        self.http.close()
        self.process.stop()

    def _probe(self) -> None:
        self.http.get("/health/ready").raise_for_status()


class RunningGateway(Running):
    """`opd gateway`, and short ways to ask it.

    Attributes:
        settings: where the servers are.
        allocator: who decides behind it.
        history: the projector behind it.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__("gateway", settings, folder)
        self.settings = settings
        self.allocator = Running("allocator", settings, folder)
        self.history = Running("history", settings, folder)

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send a POST."""
        return self.http.post(path, json=body, headers=_named(headers))

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Send a GET."""
        return self.http.get(path, headers=_named(headers))


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def running_gateway(settings: Settings, folder: Path) -> Iterator[RunningGateway]:
    """Run one, with an allocator and a projector; they start side by side."""
    with ExitStack() as stack:
        gateway = RunningGateway(settings, folder)
        services = [gateway.allocator, gateway.history, gateway]
        for service in services:
            stack.callback(service.stop)
            service.start()
        for service in services:
            service.wait()
        yield gateway
