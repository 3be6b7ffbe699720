"""Kafka and Redis together, with their state in one folder that one owner has at a time."""

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from services.errors import OpdError
from services.stack.kafka import KafkaServer
from services.stack.probes import KAFKA_PROBE, REDIS_PROBE, probe_kafka, probe_redis
from services.stack.valkey import ValkeyServer

STATE_FOLDER = Path(".opd")
_GIVEN_TIMEOUT_S = 10
_LEFTOVERS_TIMEOUT_S = 30


class Stack:
    """Kafka and Redis, running between `with` and its end; a running one can be named for either.

    Attributes:
        folder: where their state is; it is there again at the next start.
        kafka: `host:port`.
        redis: a URL.
        kafka_server: the server that we started, None if a running one was named.
        valkey_server: likewise.
    """

    def __init__(
        self,
        folder: Path = STATE_FOLDER,
        *,
        kafka: str | None = None,
        redis: str | None = None,
        redis_server: Path | None = None,
        report: Callable[[str, str], None] = lambda _part, _text: None,
    ) -> None:
        """Nothing is touched yet.

        Args:
            folder: the state folder.
            kafka: `host:port` of a running Kafka to use.
            redis: URL of a running Redis to use.
            redis_server: a `redis-server` to start instead of the wheel's Valkey.
            report: hears a part's name and how far it is.
        """
        self.folder = folder.absolute()
        self.kafka_server: KafkaServer | None = None
        self.valkey_server: ValkeyServer | None = None
        self._given_kafka, self._given_redis, self._redis_server = kafka, redis, redis_server
        self._report = report
        self._cleanup = ExitStack()
        self.lock_fd = -1

    @property
    def kafka(self) -> str:
        """Where clients reach Kafka."""
        return self.kafka_server.address if self.kafka_server else self._given_kafka or ""

    @property
    def redis(self) -> str:
        """Where clients reach Redis."""
        return self.valkey_server.url if self.valkey_server else self._given_redis or ""

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the servers that we started, by part."""
        servers = {"kafka": self.kafka_server, "redis": self.valkey_server}
        return {name: server.process.pid for name, server in servers.items() if server}

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            self.lock_fd = _own(self.folder)
            cleanup.callback(os.close, self.lock_fd)
            self._start_redis(cleanup)
            self._start_kafka(cleanup)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _start_redis(self, cleanup: ExitStack) -> None:
        started = time.monotonic()
        if self._given_redis:
            _reach("redis", self._given_redis, probe_redis, REDIS_PROBE)
        else:
            self.valkey_server = ValkeyServer(self.folder, binary=self._redis_server, inherited_fds=[self.lock_fd])
            cleanup.callback(self.valkey_server.stop)
            self.valkey_server.start()
        self._report("redis", f"ready at {self.redis} after {time.monotonic() - started:.1f} s")

    def _start_kafka(self, cleanup: ExitStack) -> None:
        started = time.monotonic()
        if self._given_kafka:
            _reach("kafka", self._given_kafka, probe_kafka, KAFKA_PROBE)
        else:
            self.kafka_server = KafkaServer(self.folder, inherited_fds=[self.lock_fd])
            cleanup.callback(self.kafka_server.stop)
            self.kafka_server.start(lambda text: self._report("kafka", text))
        self._report("kafka", f"ready at {self.kafka} after {time.monotonic() - started:.1f} s")


def _reach(part: str, address: str, probe: Callable[[str], None], what: str) -> None:
    """Wait a little for a server that others run."""
    deadline = time.monotonic() + _GIVEN_TIMEOUT_S
    while True:
        try:
            return probe(address)
        except Exception as error:
            if time.monotonic() > deadline:
                raise OpdError(
                    f"the {part} at {address} does not answer {what} within {_GIVEN_TIMEOUT_S} s: {error}\n"
                    f"try: look whether it runs there, or leave --{part} out to have one started"
                ) from error
            time.sleep(0.2)


def _own(folder: Path) -> int:
    """Lock the folder; the descriptor is passed on to the servers' keepers, so it is free only when all have ended."""
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + _LEFTOVERS_TIMEOUT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(fd, 32, 0).decode().strip()
            if _lives(owner) or time.monotonic() > deadline:
                os.close(fd)
                raise OpdError(
                    f"{folder} is in use by pid {owner or 'unknown'}: a stack runs there already\n"
                    "try: stop that one first (Ctrl-C, or SIGTERM to that pid), or take another --state-dir"
                ) from None
            time.sleep(0.1)  # its owner was killed, and its servers are just ending
        else:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            return fd


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
