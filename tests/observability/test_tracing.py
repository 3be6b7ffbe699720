"""One trace from a request to its decision and to its rows, and nothing of all that where nobody collects it."""

import asyncio
import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.gateway.guard import Guard
from services.gateway.metrics import GatewayMetrics
from services.settings import Settings
from services.stack import KafkaServer, PostgresServer
from services.telemetry.spans import Spans
from services.topics import ensure_topics
from tests.integration.gateways import running_gateway
from tests.integration.running import read_all
from tests.observability.collector import Collected, collector
from tests.waiting import until

TOMORROW = f"{datetime.now(UTC).date() + timedelta(days=1)}"
SLOT = "09:00-10:00"
WHERE = {"facility_id": "blr1", "department_id": "traced"}
DOCTOR = {**WHERE, "doctor_id": "dr-rao", "name": "Dr Rao", "schedule": [{"slot": SLOT, "capacity": 4}]}
TRACE_ID, CALLERS_SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLERS = f"00-{TRACE_ID}-{CALLERS_SPAN_ID}-01"


def test_a_request_its_decision_and_its_rows_are_one_trace(
    settings: Settings,
    kafka_server: KafkaServer,
    postgres_server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert kafka_server.address == settings.kafka_bootstrap_servers
    here = {"postgres_url": postgres_server.url, "history_schema": f"test_{uuid.uuid4().hex[:12]}"}
    asyncio.run(ensure_topics(settings, partitions=1))
    with collector() as collected:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with running_gateway(settings.model_copy(update=here), tmp_path) as gateway:
            gateway.post("/doctors", DOCTOR)
            body = {**WHERE, "date": TOMORROW, "slot": SLOT, "patient_id": "canary-patient", "source": "ONLINE"}
            booked = gateway.post("/tokens", body, traceparent=CALLERS)
            assert booked.status_code == 201, booked.text
            gateway.get(booked.headers["Location"])

            def followed() -> dict[str, Collected]:
                return {each.name: each for each in collected.spans if each.trace_id == TRACE_ID}

            until(lambda: len(followed()) == 3, "the trace is whole")
            until(lambda: any("GET" in each.name for each in collected.spans), "what was read is told of too")
    spans = followed()
    request, decision, kept = spans["POST /tokens"], spans["decide RequestToken"], spans["keep TokenConfirmed"]
    assert [each.service for each in (request, decision, kept)] == ["opd-gateway", "opd-allocator", "opd-history"]
    assert request.parent_id == CALLERS_SPAN_ID
    assert decision.parent_id == kept.parent_id == request.span_id
    assert "201" in request.attributes["http.response.status_code"]
    assert "TokenConfirmed" in decision.attributes["opd.events"]
    assert {"GET /tokens/{token_id}", "POST /doctors"} <= {each.name for each in collected.spans}
    for hidden in (b"canary-patient", booked.json()["token_id"].encode(), b"Dr Rao"):
        assert hidden not in collected.raw
    [event] = [json.loads(each.value) for each in read_all(settings, settings.events_topic) if b"canary" in each.value]
    assert event["traceparent"] == f"00-{TRACE_ID}-{request.span_id}-01"


def test_where_nobody_collects_nothing_is_made_ready() -> None:
    # What FastAPI and redis-py import of OpenTelemetry where it is installed is theirs.
    program = """
import sys, services.gateway.server, services.allocator.app, services.history.app
from services.telemetry.tracing import spans_of
assert spans_of("opd-gateway") is None
ours = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "services.telemetry.spans")
assert not [name for name in sys.modules if name.startswith(ours)]
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={"OTEL_SDK_DISABLED": "false"})  # noqa: S603  ours


def test_log_lines_of_a_request_carry_its_ids() -> None:
    seen: dict[str, Any] = {}
    exporter = InMemorySpanExporter()
    spans = Spans("opd-gateway", exporter)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        seen.update(structlog.contextvars.get_contextvars())
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        await asyncio.sleep(0)

    scope = {"type": "http", "method": "GET", "path": "/pools", "headers": [(b"traceparent", CALLERS.encode())]}
    asyncio.run(Guard(app, GatewayMetrics(), spans=spans)(scope, receive, send))
    spans.close()
    [span] = exporter.get_finished_spans()
    assert span.context is not None
    assert seen == {"trace_id": TRACE_ID, "span_id": f"{span.context.span_id:016x}"}
    assert structlog.contextvars.get_contextvars() == {}
    assert not span.status.is_ok


@pytest.mark.parametrize("traceparent", [None, "", "what a sender likes", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_what_names_no_trace_begins_none(traceparent: str | None) -> None:
    exporter = InMemorySpanExporter()
    spans = Spans("opd-history", exporter)
    spans.span("keep TokenConfirmed", traceparent, 1, {})
    spans.span("keep TokenConfirmed", CALLERS, 1, {})
    spans.close()
    assert [f"{span.context.trace_id:x}" for span in exporter.get_finished_spans() if span.context] == [TRACE_ID]
