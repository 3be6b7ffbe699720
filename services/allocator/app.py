"""The allocator as a FastStream application: broker and life cycle, health and metrics over HTTP."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn
from aiokafka import AIOKafkaConsumer, TopicPartition
from faststream import AckPolicy
from faststream.asgi import AsgiFastStream, AsgiResponse, get
from faststream.kafka import KafkaBroker
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512
from faststream.specification import AsyncAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.allocator.group import Group
from services.allocator.kafka import Publisher, TailReader, partitioner
from services.allocator.lag import watch_lag
from services.allocator.lost_connections import report_lost_connections
from services.allocator.metrics import AllocatorMetrics
from services.allocator.owner import WAITS_FOR
from services.bare_records import take_bare_records
from services.kafka import kafka_client
from services.record_batches import read_any_batch
from services.redis import connect_redis
from services.serving import NotStarted, serve
from services.settings import Settings
from services.telemetry.tracing import spans_of

SESSION_TIMEOUT_MS = 6_000
# A member learns from its heartbeat that another one left: this is most of a planned hand-over.
HEARTBEAT_INTERVAL_MS = 300
# Owners that wait for Redis, and members without a partition, ask for no records. aiokafka would take them for dead
# after five minutes and never let them join again; that they live is what their heartbeats say.
MAX_POLL_INTERVAL_MS = 2**31 - 1
REBALANCE_TIMEOUT_MS = 60_000
# A fetch that waits at the ends of some partitions keeps the others of its broker from being asked for: those that were
# taken a moment later, and one with a backlog whenever it had enough. What the feed keeps for it lasts about so long.
FETCH_MAX_WAIT_MS = 100


class Allocator:
    """One process of the allocator.

    Attributes:
        app: what FastStream runs.
        group: its partitions and their states, and why it failed if it did.
    """

    def __init__(self, settings: Settings, partitions: int) -> None:
        read_any_batch()
        take_bare_records()
        report_lost_connections()
        self._server: uvicorn.Server | None = None
        self._redis = connect_redis(settings.redis_url)
        self._tails = TailReader(settings)
        self._publisher = Publisher(settings)
        self._metrics = AllocatorMetrics()
        self._metrics.partitions.set(partitions)
        self._spans = spans_of("opd-allocator")
        for what in WAITS_FOR:
            self._metrics.waiting.labels(what).set_function(partial(self._waiting, what))
        self._topic = settings.commands_topic
        self._watching: asyncio.Task[None] | None = None
        servers = settings.kafka_bootstrap_servers.split(",")
        self._broker = KafkaBroker(servers, security=_security(settings), logger=None, graceful_timeout=None)
        self.group = Group(
            settings,
            redis=self._redis,
            consumer=self._consumer,
            tails=self._tails,
            publisher=self._publisher,
            partition_of=partitioner(partitions),
            metrics=self._metrics,
            fail=self.stop,
            spans=self._spans,
            rejoin_within_s=2 * SESSION_TIMEOUT_MS / 1000 + REBALANCE_TIMEOUT_MS / 1000,
        )
        # No handler: FastStream starts and stops the consumer, the owners read from it (ADR 4).
        self._subscriber = self._broker.subscriber(
            settings.commands_topic,
            group_id=settings.consumer_group,
            batch=True,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="none",
            listener=self.group,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            title="commands",
            description="Commands, decided in order for each department.",
        )
        self.app = AsgiFastStream(
            self._broker,
            specification=AsyncAPI(title="OPD allocator", version="1"),
            asgi_routes=[
                ("/health/live", get(_answer(self._live))),
                ("/health/ready", get(_answer(self._ready))),
                ("/metrics", get(self._show_metrics)),
            ],
            on_startup=[self._start],
            on_shutdown=[self.group.stop],
            after_shutdown=[self._close],
            logger=None,
        )

    async def run(self, host: str, port: int) -> None:
        """Work until SIGTERM, Ctrl-C or `stop`: then finish the batches in flight, commit, leave the group.

        Raises:
            NotStarted: it could not begin.
            Unrecoverable: it cannot go on.
        """
        try:
            await serve(self._server_at(host, port), "allocator")
        except NotStarted:  # what was started before the failure would keep the process from ending
            await self.group.stop()
            await self._broker.stop()
            await self._close()
            raise
        if self.group.failure is not None:
            raise self.group.failure

    def stop(self) -> None:
        """Begin to stop, as a signal would."""
        if self._server is not None:
            self._server.should_exit = True

    def _server_at(self, host: str, port: int) -> uvicorn.Server:
        config = uvicorn.Config(
            self.app, host=host, port=port, lifespan="on", log_config=None, access_log=False, log_level=logging.WARNING
        )
        self._server = uvicorn.Server(config)
        return self._server

    def _consumer(self) -> AIOKafkaConsumer:
        consumer = self._subscriber.consumer
        if consumer is None:
            raise RuntimeError("the broker has not been started")
        return consumer

    async def _start(self) -> None:
        await self._tails.start()
        self.group.start()
        watching = watch_lag(self._places, self._consumer, self._tails, self._metrics.lag)
        self._watching = asyncio.create_task(watching, name="lag")

    async def _close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        await self._publisher.stop()
        await self._tails.stop()
        await self._redis.aclose()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)

    def _places(self) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in self.group.states]

    def _waiting(self, for_what: str) -> float:
        return sum(state == f"waiting: {for_what}" for state in self.group.states.values())

    async def _live(self) -> tuple[bool, dict[str, Any]]:
        return self.group.failure is None, {}

    async def _ready(self) -> tuple[bool, dict[str, Any]]:
        return self.group.is_ready, {"partitions": self.group.states}

    async def _show_metrics(self, _scope: Any) -> AsgiResponse:
        return AsgiResponse(generate_latest(self._metrics.registry), 200, headers={"content-type": CONTENT_TYPE_LATEST})


def _security(settings: Settings) -> BaseSecurity:
    """What `kafka_client` says, in FastStream's words."""
    client = kafka_client(settings)
    tls: dict[str, Any] = {"ssl_context": client.get("ssl_context"), "use_ssl": "ssl_context" in client}
    if "sasl_mechanism" not in client:
        return BaseSecurity(**tls)
    kinds = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    return kinds[client["sasl_mechanism"]](client["sasl_plain_username"], client["sasl_plain_password"], **tls)


def _answer(ask: Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]) -> Callable[[Any], Awaitable[AsgiResponse]]:
    async def handler(_scope: Any) -> AsgiResponse:
        is_well, details = await ask()
        body = json.dumps({"status": "ok" if is_well else "unavailable", **details}).encode()
        return AsgiResponse(body, 200 if is_well else 503, headers={"content-type": "application/json"})

    return handler
