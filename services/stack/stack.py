"""Kafka, Redis and PostgreSQL together, with their state in one folder that one owner has at a time."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from services.errors import OpdError
from services.settings import without_password
from services.stack.kafka import KafkaServer
from services.stack.postgres import PostgresServer
from services.stack.probes import (
    KAFKA_PROBE,
    POSTGRES_PROBE,
    REDIS_PROBE,
    probe_kafka,
    probe_postgres,
    probe_redis,
)
from services.stack.process import Process
from services.stack.progress import Progress
from services.stack.state import DEFAULT_FOLDER, keep_last_logs, kept_ports, own
from services.stack.valkey import ValkeyServer

_GIVEN_TIMEOUT_S = 10


class Stack:
    """Kafka, Redis and, if wished, PostgreSQL, running between `with` and its end; running ones can be named.

    Attributes:
        folder: where their state is; it is there again at the next start, and so are the ports.
        kafka: `host:port`.
        redis: a URL.
        postgres: a URL; empty where none is wished.
        kafka_server: the server that we started, None if a running one was named.
        valkey_server: likewise.
        postgres_server: likewise.
        lock_fd: the lock of the folder, for further processes to inherit.
    """

    def __init__(  # noqa: PLR0913  each server may be named
        self,
        folder: Path = DEFAULT_FOLDER,
        *,
        kafka: str | None = None,
        redis: str | None = None,
        redis_server: Path | None = None,
        postgres: str | None = None,
        with_postgres: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Nothing is touched yet.

        Args:
            folder: the state folder.
            kafka: `host:port` of a running Kafka to use.
            redis: URL of a running Redis to use.
            redis_server: a `redis-server` to start instead of the wheel's Valkey.
            postgres: URL of a running PostgreSQL to use.
            with_postgres: start one where none is named.
            progress: hears how far the start is; nobody does if left out.
        """
        self.folder = folder.absolute()
        self.kafka = kafka or ""
        self.redis = redis or ""
        self.postgres = postgres or ""
        self.kafka_server: KafkaServer | None = None
        self.valkey_server: ValkeyServer | None = None
        self.postgres_server: PostgresServer | None = None
        self.lock_fd = -1
        self._redis_binary = redis_server
        self._with_postgres = with_postgres
        self._progress = progress or Progress(quiet=True)
        self._cleanup = ExitStack()

    @property
    def processes(self) -> dict[str, Process]:
        """What we started, by part."""
        servers = {"kafka": self.kafka_server, "redis": self.valkey_server, "postgres": self.postgres_server}
        return {part: server.process for part, server in servers.items() if server}

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of what we started, by part."""
        return {part: process.pid for part, process in self.processes.items()}

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            self.lock_fd = own(self.folder)
            cleanup.callback(os.close, self.lock_fd)
            keep_last_logs(self.folder)
            ports = kept_ports(self.folder, ["kafka", "redis", "postgres"])
            # Kafka goes first, for it is to stop last.
            self._start_kafka(ports["kafka"], cleanup)
            self._start_redis(ports["redis"], cleanup)
            self._start_postgres(ports["postgres"], cleanup)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _start_kafka(self, port: int, cleanup: ExitStack) -> None:
        with self._progress.part("kafka") as say:
            if self.kafka:
                _reach("kafka", self.kafka, probe_kafka, KAFKA_PROBE)
                return
            self.kafka_server = KafkaServer(self.folder, port=port, inherited_fds=[self.lock_fd])
            cleanup.callback(self.kafka_server.stop)
            self.kafka_server.start(say)
            self.kafka = self.kafka_server.address

    def _start_redis(self, port: int, cleanup: ExitStack) -> None:
        with self._progress.part("redis"):
            if self.redis:
                _reach("redis", self.redis, probe_redis, REDIS_PROBE)
                return
            binary, fds = self._redis_binary, [self.lock_fd]
            self.valkey_server = ValkeyServer(self.folder, port=port, binary=binary, inherited_fds=fds)
            cleanup.callback(self.valkey_server.stop)
            self.valkey_server.start()
            self.redis = self.valkey_server.url

    def _start_postgres(self, port: int, cleanup: ExitStack) -> None:
        if not self._with_postgres and not self.postgres:
            return
        with self._progress.part("postgres"):
            if self.postgres:
                _reach("postgres", self.postgres, probe_postgres, POSTGRES_PROBE)
                return
            self.postgres_server = PostgresServer(self.folder, port=port, inherited_fds=[self.lock_fd])
            cleanup.callback(self.postgres_server.stop)
            self.postgres_server.start()
            self.postgres = self.postgres_server.url


def _reach(part: str, address: str, probe: Callable[[str], None], what: str) -> None:
    """Wait a little for a server that others run."""
    deadline = time.monotonic() + _GIVEN_TIMEOUT_S
    while True:
        try:
            probe(address)
        except Exception as error:
            if time.monotonic() > deadline:
                raise OpdError(
                    f"the {part} at {without_password(address)} has not answered {what} within {_GIVEN_TIMEOUT_S} s: "
                    f"{error}\n"
                    f"try: look whether it runs there, or leave --{part} out to have one started"
                ) from error
            time.sleep(0.2)
        else:
            return
