"""The projector as a service: its life cycle, health and metrics over HTTP."""

import asyncio
import logging
import time
from typing import Any

import structlog
import uvicorn

from services.bare_records import take_bare_records
from services.health import health_app
from services.history.metrics import HistoryMetrics
from services.history.postgres import WENT_AWAY, wait_for_postgres
from services.history.projector import Projector, State
from services.history.schema import migrate
from services.serving import run_service, serve
from services.settings import Settings
from services.telemetry.tracing import spans_of
from services.topics import check_topics

_log = structlog.stdlib.get_logger(__name__)

_POSTGRES_WITHIN_S = 30
_AGAIN_AFTER_S = 0.5


class History:
    """One process of the projector."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        metrics = HistoryMetrics()
        self._spans = spans_of("opd-history")
        self._projector = Projector(settings, partitions, metrics, self._spans)
        self._app = health_app(self._live, self._ready, metrics.registry)

    async def run(self, host: str, port: int) -> None:
        """Work until SIGTERM or Ctrl-C: then finish the batch in flight.

        Raises:
            NotStarted: it could not begin.
            OtherLog: PostgreSQL and Kafka do not belong together.
        """
        config = uvicorn.Config(
            self._app,
            host=host,
            port=port,
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level=logging.WARNING,
        )
        server = uvicorn.Server(config)
        projecting = asyncio.create_task(self._projector.run())
        projecting.add_done_callback(lambda _: setattr(server, "should_exit", True))  # without it there is no service
        try:
            await serve(server, "history")
        finally:
            self._projector.stop()
            await asyncio.wait({projecting})
            if self._spans is not None:
                await asyncio.to_thread(self._spans.close)
        await projecting

    def _live(self) -> tuple[bool, dict[str, Any]]:
        return self._projector.state is not State.STOPPED, {}

    def _ready(self) -> tuple[bool, dict[str, Any]]:
        state = self._projector.state
        return state is State.WORKING, {"state": state, "positions": self._projector.positions}


def run_history(settings: Settings) -> None:
    """Run the service in this process, whose signals it takes over."""
    take_bare_records()
    run_service(_run(settings))


async def _run(settings: Settings) -> None:
    topics = await check_topics(settings)
    revision = await _lead_schema_on(settings)
    _log.info("the schema is as it must be", schema=settings.history_schema, revision=revision)
    await History(settings, topics[0].partitions).run(settings.http_host, settings.http_port or 0)


async def _lead_schema_on(settings: Settings) -> str:
    """Migrate; where PostgreSQL goes away meanwhile, wait for it and begin again."""
    deadline = time.monotonic() + _POSTGRES_WITHIN_S
    while True:
        await wait_for_postgres(settings.postgres_url, timeout_s=_POSTGRES_WITHIN_S)
        try:
            return await migrate(settings.postgres_url, settings.history_schema)
        except WENT_AWAY:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_AGAIN_AFTER_S)
