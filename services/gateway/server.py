"""One gateway as a process."""

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any

import structlog
import uvicorn

from services.allocator.lost_connections import report_lost_connections
from services.bare_records import take_bare_records
from services.errors import OpdError
from services.gateway.app import make_app
from services.gateway.engine import KafkaEngine
from services.gateway.estimates import Estimates
from services.gateway.feed import EventFeed
from services.gateway.history import reading
from services.gateway.kafka import KafkaLog, hearing
from services.gateway.keys import LOOPBACK, Verifier, verifier
from services.gateway.limits import Limits
from services.gateway.metrics import GatewayMetrics
from services.gateway.parts import Parts
from services.gateway.protocol import LimitedProtocol
from services.gateway.writes import Writes
from services.record_batches import read_any_batch
from services.serving import run_service, serve
from services.settings import Settings
from services.telemetry.tracing import spans_of
from services.topics import check_topics
from services.trail.trail import writing
from services.vault.vault import opening

_log = structlog.stdlib.get_logger(__name__)

_STOP_WITHIN_S = 15


class OpenToAll(OpdError):  # noqa: N818  it is what it would be
    """Without keys everybody who can reach it may do everything."""

    exit_code = 2


def run_gateway(settings: Settings) -> None:
    """Run one gateway in this process, whose signals it takes over.

    Raises:
        OpdError: it cannot begin.
    """
    who = verifier(settings)
    if settings.jwt_jwks is None:
        if settings.http_host not in LOOPBACK:
            raise OpenToAll(
                f"without keys everybody is an administrator: {settings.http_host} is refused\n"
                "try: set OPD_JWT_JWKS and OPD_JWT_ISSUER, or leave OPD_HTTP_HOST at 127.0.0.1"
            )
        _log.warning("development mode: whoever reaches this port is an administrator; set OPD_JWT_JWKS to end that")
    read_any_batch()
    take_bare_records()
    report_lost_connections()
    run_service(_run(settings, who))


async def _run(settings: Settings, who: Verifier) -> None:
    topics = await check_topics(settings)
    feed, metrics = EventFeed(), GatewayMetrics()
    log = KafkaLog(settings, topics[0].partitions)
    spans = spans_of("opd-gateway")
    async with AsyncExitStack() as stack:
        if spans is not None:
            stack.push_async_callback(asyncio.to_thread, spans.close)
        stack.push_async_callback(log.stop)
        await log.start()
        await stack.enter_async_context(hearing(settings, topics[0].partitions, feed))
        limits = Limits(settings, metrics) if is_limited(settings) else None
        if limits is not None:
            stack.push_async_callback(limits.close)
        history = await stack.enter_async_context(reading(settings))
        trail = await stack.enter_async_context(writing(settings))
        vault = None
        if settings.jwt_jwks is None or settings.vault_key_file is not None:
            vault = await stack.enter_async_context(opening(settings, make_key=settings.jwt_jwks is None))
        parts = Parts(
            writes=Writes(log, feed, history, metrics, spans),
            history=history,
            feed=feed,
            events=log,
            vault=vault,
            trail=trail,
            estimates=Estimates(history, settings.time_zone),
            verifier=who,
            metrics=metrics,
            partition_of=log.partition_of,
            limits=limits,
            spans=spans,
            engine=KafkaEngine(settings, topics[0].partitions),
            verify_report=settings.verify_report,
        )
        await _serve(settings, parts)


def is_limited(settings: Settings) -> bool:
    """Say whether requests are counted: where it is left to us, not in development mode."""
    return settings.rate_limits == "on" or (settings.rate_limits == "auto" and settings.jwt_jwks is not None)


def http_config(settings: Settings, app: Any) -> uvicorn.Config:
    """Give how uvicorn is to serve the application."""
    return uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port or 0,
        http=LimitedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        log_level=logging.WARNING,
        server_header=False,
        proxy_headers=settings.trusted_proxies is not None,  # else whoever is near could say to come from elsewhere
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=_STOP_WITHIN_S,
    )


async def _serve(settings: Settings, parts: Parts) -> None:
    server = _Server(http_config(settings, make_app(parts)), parts.feed)
    await serve(server, "gateway")


class _Server(uvicorn.Server):
    """Ends the streams when it is to stop: it would wait for their readers to leave."""

    def __init__(self, config: uvicorn.Config, feed: EventFeed) -> None:
        super().__init__(config)
        self._feed = feed

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """End the streams, then all else."""
        self._feed.close()
        await super().shutdown(None)
        del sockets
