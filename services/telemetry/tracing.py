"""Traces, where somebody wants them: what a request, a decision and a row have to do with each other (ADR 22)."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.telemetry.spans import Spans

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def spans_of(service: str) -> "Spans | None":
    """Give what makes the spans of a service, such as `opd-gateway`; None where no collector is named.

    OpenTelemetry's own variables say the rest (`OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`, …). Without a
    collector nothing of it is even imported.

    Raises:
        ModuleNotFoundError: a collector is named, and the extra `tracing` is not installed.
    """
    if not any(map(os.environ.get, _ENDPOINTS)) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    from services.telemetry.spans import Spans  # noqa: PLC0415

    return Spans(service, OTLPSpanExporter())
