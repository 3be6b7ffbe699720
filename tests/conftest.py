"""Real servers for the tests that need them: one Kafka, one Valkey, one PostgreSQL a run, started when asked for.

A test that talks to both asks for `settings`: servers that run, names of topics and group that nobody else uses, an
empty Redis. One that must hold on every Redis there is asks for `every_redis`. One that kills or restarts a server asks
for `kafka_server` or `valkey_server` besides, and leaves it running. `servers.py` says which servers they are.
"""

import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from redis import Redis

from services.settings import Settings
from services.stack import ValkeyServer, ports
from tests import servers
from tests.servers import Database, Kafka

# How long an example takes on a busy machine says nothing, nor how long to think of one.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

REDIS_SERVER = shutil.which("redis-server")
_WITH_PROCESSES = {"campaign", "integration", "screens"}


def pytest_configure() -> None:
    """Let processes of tests hear Ctrl-C, also where this one started in the background; share ports with others."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        _take_a_share_of_the_ports(int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))


def _take_a_share_of_the_ports(number: int, workers: int) -> None:
    """Choose no port that another worker has chosen and does not listen on yet."""
    share = len(ports._RANGE) // workers
    ports._RANGE = ports._RANGE[number * share : (number + 1) * share]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first: at the end no worker has one of them to itself."""
    items.sort(key=lambda item: item.path.parent.name not in _WITH_PROCESSES)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set in the shell is none of a test's business, but for the cache, which spares a download."""
    for name in os.environ:
        if name.startswith("OPD_") and name != "OPD_CACHE_DIR":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """The run's Kafka."""
    with servers.running(servers.kafka(tmp_path_factory.mktemp("kafka"))) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The run's Valkey, or the Redis in its place."""
    with servers.running(servers.redis(tmp_path_factory.mktemp("valkey"))) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The `redis-server` of this machine."""
    with servers.running(ValkeyServer(tmp_path_factory.mktemp("redis"), binary=Path(str(REDIS_SERVER)))) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The run's PostgreSQL; a test takes a schema of its own in it."""
    with servers.running(servers.postgres(tmp_path_factory.mktemp("postgres"))) as server:
        yield server


@pytest.fixture
def redis_url(valkey_server: Database) -> str:
    """A Redis with nothing in it."""
    return _emptied(valkey_server)


@pytest.fixture(params=["valkey_server", *(["redis_server"] if REDIS_SERVER else [])])
def every_redis(request: pytest.FixtureRequest) -> str:
    """A Redis with nothing in it; the test runs once for each server that this machine has."""
    return _emptied(request.getfixturevalue(request.param))


def _emptied(server: Database) -> str:
    with Redis.from_url(server.url) as redis:
        redis.flushall()
    return server.url


@pytest.fixture
def settings(kafka_server: Kafka, redis_url: str) -> Settings:
    """Where the servers are, with topics (not yet created) and a group of this test's own."""
    mine = uuid.uuid4().hex[:12]
    return Settings(
        kafka_bootstrap_servers=kafka_server.address,
        redis_url=redis_url,
        commands_topic=f"commands.{mine}",
        events_topic=f"events.{mine}",
        dead_letters_topic=f"dead-letters.{mine}",
        consumer_group=f"allocator.{mine}",
    )
