"""A running allocator for tests, and short ways to its topics."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from services.settings import Settings
from services.stack.ports import free_ports
from services.stack.system import environment
from tests.waiting import WITHIN_S, until


class Sent(NamedTuple):
    """A record to publish to the commands topic."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


class RunningAllocator:
    """`opd allocator` as a process of its own; `with` waits until it is ready and stops it at the end.

    `root` is where the sources of another version stand.
    """

    def __init__(self, settings: Settings, *arguments: str, wait: bool = True, root: Path | None = None) -> None:
        self._settings = settings
        self._wait = wait
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed by __exit__
        (self.port,) = free_ports(1)
        self.process = subprocess.Popen(  # noqa: S603  our own command
            [sys.executable, "-m", "services.cli", "allocator", "--http-port", str(self.port), *arguments],
            cwd=root,
            env={**os.environ, **environment(settings), "PYTHONWARNINGS": "error"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        try:
            if self._wait:
                self.wait_until_ready()
        except BaseException as error:  # then `with` does not come to its end, and this one would write on into Redis
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if error is not None:
            sys.stderr.write(self.log)
        self._log.close()

    @property
    def log(self) -> str:
        """All that it wrote so far."""
        self._log.seek(0)
        return self._log.read().decode()

    def get(self, path: str) -> tuple[int, str]:
        """Ask it over HTTP; status 0 while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    @property
    def partitions(self) -> dict[str, str]:
        """What it says of its partitions."""
        _, body = self.get("/health/ready")
        states: dict[str, str] = json.loads(body).get("partitions", {}) if body else {}
        return states

    def wait_until_ready(self) -> None:
        """Wait until it works on every partition it has."""
        until(self._is_ready, "the allocator is ready")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"the allocator ended: {self.log}"
        return self.get("/health/ready")[0] == 200

    def stop(self) -> int:
        """Send SIGTERM and give the exit status."""
        self.process.terminate()
        return self.process.wait(WITHIN_S)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()
        self.process.wait()


def create_topics(
    settings: Settings, partitions: int = 4, config: dict[str, str] | None = None, *, replication: int = 1
) -> None:
    """Create the three topics with the senders' timestamps kept."""
    asyncio.run(_create_topics(settings, partitions, replication, {"retention.ms": "-1", **(config or {})}))


async def _create_topics(settings: Settings, partitions: int, replication: int, config: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        names = (settings.commands_topic, settings.events_topic, settings.dead_letters_topic)
        await admin.create_topics([NewTopic(name, partitions, replication, topic_configs=config) for name in names])
    finally:
        await admin.close()


def publish(settings: Settings, records: Sequence[Sent]) -> None:
    """Send records to the commands topic, in order."""
    asyncio.run(_publish(settings, records))


async def _publish(settings: Settings, records: Sequence[Sent]) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, enable_idempotence=True, linger_ms=5
    ) as producer:
        sends = [
            await producer.send(
                settings.commands_topic,
                record.value,
                key=record.key,
                timestamp_ms=record.timestamp_ms,
                headers=list(record.headers),
                partition=record.partition,
            )
            for record in records
        ]
        await asyncio.gather(*sends)


def read_all(
    settings: Settings, topic: str, at_least: int = 0, *, within_s: float = WITHIN_S
) -> list[ConsumerRecord[Any, Any]]:
    """Read a topic from its beginning to its end, once it has so many records."""
    return asyncio.run(_read_all(settings, topic, at_least, within_s))


async def _read_all(settings: Settings, topic: str, at_least: int, within_s: float) -> list[ConsumerRecord[Any, Any]]:
    records: list[ConsumerRecord[Any, Any]] = []
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest", fetch_max_wait_ms=50
    ) as consumer:
        places = [TopicPartition(topic, number) for number in sorted(await _partitions(consumer, topic))]
        consumer.assign(places)
        async with asyncio.timeout(within_s):
            while len(records) < at_least or not await _is_at_end(consumer, places):
                for batch in (await consumer.getmany(timeout_ms=100)).values():
                    records += batch
    return records


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer._client.force_metadata_update()
    await consumer._client._wait_on_metadata(topic)
    found: set[int] = consumer.partitions_for_topic(topic) or set()
    return found


async def _is_at_end(consumer: AIOKafkaConsumer, places: list[TopicPartition]) -> bool:
    ends = await consumer.end_offsets(places)
    return all([await consumer.position(place) >= ends[place] for place in places])
