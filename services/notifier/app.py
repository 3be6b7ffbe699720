"""The notifier as a service: its life cycle, health and metrics over HTTP."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import Any

import structlog
import uvicorn
from aiokafka.errors import KafkaError

from services.health import health_app
from services.history.postgres import LOST, connect, is_the_only_one, pause, wait_for_postgres
from services.history.schema import migrate
from services.notifier import outbox
from services.notifier.channels import Channel
from services.notifier.metrics import NotifierMetrics
from services.notifier.reader import Reader
from services.notifier.sender import Contacts, Sender
from services.serving import run_service, serve
from services.settings import Settings
from services.topics import check_topics
from services.vault.vault import opening

_log = structlog.stdlib.get_logger(__name__)

_POSTGRES_WITHIN_S = 30


class State(StrEnum):
    """What a notifier does."""

    STARTING = "starting"
    STANDBY = "standby: another one is at work"
    WORKING = "working"
    STOPPED = "stopped"


class Notifier:
    """Reads events and sends messages, one notifier at a time on an outbox; others stand by."""

    def __init__(self, settings: Settings, partitions: int, contacts: Contacts, channels: Sequence[Channel]) -> None:
        self.state = State.STARTING
        self.metrics = NotifierMetrics()
        self._settings = settings
        self._stopping = asyncio.Event()
        self._new = asyncio.Event()
        self._reader = Reader(settings, partitions, self.metrics, self._new)
        self._sender = Sender(contacts, channels, settings.time_zone, self.metrics, self._new)

    def stop(self) -> None:
        """Let what is on its way arrive, then let `run` return."""
        self._stopping.set()
        self._new.set()

    async def run(self) -> None:
        """Work until `stop`, whatever goes away and comes back meanwhile.

        Raises:
            OtherTopic: outbox and Kafka do not belong together.
        """
        while not self._stopping.is_set():
            try:
                async with AsyncExitStack() as cleanup:
                    await self._work(cleanup)
            except outbox.Overtaken:
                _log.info("a position was moved by another one, reading it again")
            except (*LOST, KafkaError) as error:
                # Their own texts may quote rows.
                _log.warning("a server failed, beginning again", error=type(error).__name__)
                self.metrics.restarts.inc()
            self.state = State.STARTING
            await pause(self._stopping)
        self.state = State.STOPPED

    async def _work(self, cleanup: AsyncExitStack) -> None:
        connections = []
        for _ in range(2):
            connection = await connect(self._settings.postgres_url, self._settings.notifier_schema)
            cleanup.callback(connection.terminate)
            connections.append(connection)
        name = f"{self._settings.notifier_schema}: notifier"
        if not await is_the_only_one(connections[0], name, self._stopping, standing_by=self._stand_by):
            return
        self.state = State.WORKING
        _log.info("following the events topic", topic=self._settings.events_topic)
        works = (self._reader.run(connections[0], self._stopping), self._sender.run(connections[1], self._stopping))
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _stand_by(self) -> None:
        self.state = State.STANDBY


def run_notifier(settings: Settings, channels: Sequence[Channel]) -> None:
    """Run the service in this process, whose signals it takes over."""
    run_service(_run(settings, channels))


async def _run(settings: Settings, channels: Sequence[Channel]) -> None:
    topics = await check_topics(settings)
    await wait_for_postgres(settings.postgres_url, timeout_s=_POSTGRES_WITHIN_S)
    revision = await migrate(settings.postgres_url, settings.notifier_schema, outbox.VERSIONS)
    _log.info("the schema is as it must be", schema=settings.notifier_schema, revision=revision)
    async with opening(settings) as vault:
        notifier = Notifier(settings, topics[0].partitions, vault, channels)
        await _serve(settings, notifier)


async def _serve(settings: Settings, notifier: Notifier) -> None:
    def live() -> tuple[bool, dict[str, Any]]:
        return notifier.state is not State.STOPPED, {}

    def ready() -> tuple[bool, dict[str, Any]]:
        return notifier.state is State.WORKING, {"state": notifier.state}

    config = uvicorn.Config(
        health_app(live, ready, notifier.metrics.registry),
        host=settings.http_host,
        port=settings.http_port or 0,
        lifespan="off",
        log_config=None,
        access_log=False,
        log_level=logging.WARNING,
    )
    server = uvicorn.Server(config)
    working = asyncio.create_task(notifier.run())
    working.add_done_callback(lambda _: setattr(server, "should_exit", True))  # without it there is no service
    try:
        await serve(server, "notifier")
    finally:
        notifier.stop()
        await asyncio.wait({working})
    await working
