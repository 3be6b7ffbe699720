"""The servers that tests ask for, as `OPD_TEST_SERVERS` says.

`embedded`, the default: from wheels, started by the stack's own classes. `containers`: the images of docker-compose.yml
with the settings that they have there. `external`: whatever runs at `OPD_TEST_KAFKA`, `OPD_TEST_REDIS` and
`OPD_TEST_POSTGRES`; a test that kills a server is skipped then.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from redis import Redis

from services.stack import KafkaServer, PostgresServer, ValkeyServer
from services.stack.ports import LOOPBACK, free_ports
from services.stack.probes import probe_kafka, probe_postgres, probe_redis
from tests import compose
from tests.waiting import until

KINDS = ("embedded", "containers", "external")
KIND = os.environ.get("OPD_TEST_SERVERS", "embedded")
if KIND not in KINDS:
    raise pytest.UsageError(f"OPD_TEST_SERVERS={KIND}: one of {', '.join(KINDS)}")

_READY_WITHIN_S = 120
_PASSWORD = "tests alone"  # noqa: S105  of a server that lives as long as a test run


class Server(Protocol):
    """What a test may do to a server; it leaves it running."""

    def start(self) -> None:
        """Start it again, at its address and with what it had; return when it answers."""

    def kill(self) -> None:
        """SIGKILL it."""

    def stop(self) -> None:
        """End it."""


class Kafka(Server, Protocol):
    """A Kafka at `host:port`."""

    @property
    def address(self) -> str: ...


class Database(Server, Protocol):
    """A Redis or a PostgreSQL at its URL."""

    @property
    def url(self) -> str: ...


AnyServer = TypeVar("AnyServer", bound=Server)


class Container:
    """One server of docker-compose.yml, at a free port of the loopback.

    Attributes:
        address: `host:port`; a Kafka's.
        url: with the scheme, for the others.
    """

    def __init__(
        self, name: str, port: int, *, inside: int, url: str, probe: Callable[[str], None], changed: dict[str, str]
    ) -> None:
        """Start nothing yet; `{port}` in the URL and in what is `changed` of its environment is the port."""
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415  a third of a second

        service = compose.services()[name]
        environment = {**service.get("environment", {}), **changed}
        self.address = f"{LOOPBACK}:{port}"
        self.url = url.format(port=port)
        self._answers = partial(probe, self.url)
        self._name = name
        self._runs = False
        self._container = DockerContainer(service["image"], env={key: str(value) for key, value in environment.items()})
        self._container.with_kwargs(hostname=name)
        self._container.ports[f"{inside}/tcp"] = (LOOPBACK, port)  # type: ignore[assignment]  # docker's own way
        if "command" in service:
            self._container.with_command(service["command"])

    def start(self) -> None:
        """Start it, or start it again; return when it answers."""
        if self._runs:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
        self._runs = True
        until(self._is_ready, f"{self._name} answers", timeout_s=_READY_WITHIN_S)

    def kill(self) -> None:
        """SIGKILL it."""
        self._container.get_wrapped_container().kill()

    def stop(self) -> None:
        """Remove it and its data."""
        self._container.stop()

    def _is_ready(self) -> bool:
        try:
            self._answers()
        except Exception:  # noqa: BLE001  whatever keeps it from answering
            return False
        return True


class Given:
    """A server that somebody else runs."""

    def __init__(self, variable: str, kind: str, probe: Callable[[str], None]) -> None:
        self.address = self.url = os.environ.get(variable, "")
        if not self.url:
            raise pytest.UsageError(f"OPD_TEST_SERVERS=external needs {variable}")
        self._kind = kind
        self._probe = probe

    def start(self) -> None:
        """See whether it answers."""
        self._probe(self.url)

    def kill(self) -> None:
        """Skip the test."""
        pytest.skip(f"the {self._kind} is not ours to kill")

    def stop(self) -> None:
        """Leave it as it is."""


def kafka(folder: Path) -> Kafka:
    """Give a Kafka, not yet started."""
    if KIND == "external":
        return Given("OPD_TEST_KAFKA", "Kafka", probe_kafka)
    if KIND == "embedded":
        return KafkaServer(folder)
    (port,) = free_ports(1)
    changed = {
        "KAFKA_ADVERTISED_LISTENERS": f"NETWORK://kafka:19092,HOST://{LOOPBACK}:{port}",
        # As the embedded one: tests have days of their own, and kill brokers.
        "KAFKA_LOG_MESSAGE_TIMESTAMP_AFTER_MAX_MS": str(sys.maxsize),
        "KAFKA_BROKER_SESSION_TIMEOUT_MS": "4000",
    }
    return Container("kafka", port, inside=9092, url=f"{LOOPBACK}:{{port}}", probe=probe_kafka, changed=changed)


def redis(folder: Path) -> Database:
    """Give a Redis, or Valkey, not yet started."""
    if KIND == "external":
        return _Empty("OPD_TEST_REDIS", "Redis", probe_redis)
    if KIND == "embedded":
        return ValkeyServer(folder)
    url = f"redis://{LOOPBACK}:{{port}}/0"
    return Container("redis", free_ports(1)[0], inside=6379, url=url, probe=probe_redis, changed={})


def postgres(folder: Path) -> Database:
    """Give a PostgreSQL, not yet started."""
    if KIND == "external":
        return Given("OPD_TEST_POSTGRES", "PostgreSQL", probe_postgres)
    if KIND == "embedded":
        return PostgresServer(folder)
    url = f"postgresql://opd:{_PASSWORD.replace(' ', '%20')}@{LOOPBACK}:{{port}}/opd"
    changed = {"POSTGRES_PASSWORD_FILE": "", "POSTGRES_PASSWORD": _PASSWORD}
    return Container("postgres", free_ports(1)[0], inside=5432, url=url, probe=probe_postgres, changed=changed)


class _Empty(Given):
    """A Redis that tests will flush: nothing of anybody's may be in it."""

    _is_ours = False

    def start(self) -> None:
        """See whether it answers, and is empty."""
        super().start()
        with Redis.from_url(self.url) as client:
            if not self._is_ours and client.info("keyspace"):
                raise pytest.UsageError("the Redis at OPD_TEST_REDIS is not empty, and tests flush it")
        self._is_ours = True

    def stop(self) -> None:
        """Leave it as it was."""
        if self._is_ours:
            with Redis.from_url(self.url) as client:
                client.flushall()


@contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    """Start it, and end it at the end."""
    try:
        server.start()
        yield server
    finally:
        server.stop()
