"""The image's health check against something that answers."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from services.stack.ports import free_ports
from tests.console import ROOT


class _Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/live" else 503)
        self.end_headers()
        self.wfile.write(b'{"status": "unavailable"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """A service that lives and is not ready."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def check(port: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.healthcheck", *words]
    return subprocess.run(  # noqa: S603  ours
        command, env={"OPD_HTTP_PORT": f"{port}"}, capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_it_tells_a_service_that_is_well(port: int) -> None:
    assert check(port).returncode == 0
    assert check(port, "live").returncode == 0
    unready = check(port, "ready")
    assert (unready.returncode, unready.stderr) == (1, '{"status": "unavailable"}\n')
    absent = check(free_ports(1)[0])
    assert (absent.returncode, absent.stderr) == (1, "no service listens\n")
