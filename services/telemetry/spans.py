"""The spans that are made: one a request, one a decided command, one a kept event, all of one trace.

A command carries its trace in the attribute `traceparent`, and its events have the same one (spec §2). So a decision
and a row are both children of the request, and neither changes a byte of what is said.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from allocation_core.store import BatchedCommand
from schemas.events import WrittenEvent

if TYPE_CHECKING:
    from starlette.types import Scope  # an allocator has none

_PROPAGATOR = TraceContextTextMapPropagator()
_TOLD_BY_CALLERS = {b"traceparent", b"tracestate"}


class Spans:
    """Makes a service's spans, and sends them where they are collected, in a thread of its own."""

    def __init__(self, service: str, exporter: SpanExporter) -> None:
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("opd")

    def close(self) -> None:
        """Send what is left; blocks while it does."""
        self._provider.shutdown()

    @contextmanager
    def request(self, scope: "Scope") -> Iterator[Span]:
        """Make the span of a request, in whose time log lines carry its ids; `answered` completes it."""
        told = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _TOLD_BY_CALLERS}
        with self._tracer.start_as_current_span(
            scope["method"],
            _PROPAGATOR.extract(told),
            SpanKind.SERVER,
            record_exception=False,  # its text may repeat what a patient sent
            set_status_on_exception=False,
        ) as span:
            ids = span.get_span_context()
            named = {"trace_id": trace.format_trace_id(ids.trace_id), "span_id": trace.format_span_id(ids.span_id)}
            with structlog.contextvars.bound_contextvars(**named):
                yield span

    def answered(self, span: Span, method: str, route: str, status: int) -> None:
        """Complete the span of a request. Never its path: that names tokens."""
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))

    def traceparent(self) -> str | None:
        """Give the trace of the request that is being answered, as a command carries it."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get("traceparent")

    def decisions(self, partition: int, commands: Sequence[BatchedCommand]) -> "Decisions | None":
        """Begin the spans of a batch; None if nobody follows one of its commands."""
        followed = [each for each in commands if each.command.traceparent is not None]
        return Decisions(self, partition, followed, len(commands)) if followed else None

    def span(
        self, name: str, traceparent: str | None, began_ns: int, attributes: Mapping[str, str | int | Sequence[str]]
    ) -> None:
        """Make a span that ends now, in the trace that a command names; none if it names none."""
        parent = _context(traceparent)
        if parent is not None:
            self._tracer.start_span(name, parent, SpanKind.CONSUMER, attributes, start_time=began_ns).end()


class Decisions:
    """The commands of one batch that are followed, from its reading until its events are acknowledged."""

    def __init__(self, spans: Spans, partition: int, followed: Sequence[BatchedCommand], batch: int) -> None:
        self._spans, self._partition, self._followed, self._batch = spans, partition, followed, batch
        self._began_ns = time.time_ns()

    def said(self, events: Mapping[int, Sequence[WrittenEvent]]) -> None:
        """Make the spans: their events are in the log."""
        for each in self._followed:
            attributes: dict[str, str | int | Sequence[str]] = {
                "messaging.system": "kafka",
                "messaging.destination.partition.id": str(self._partition),
                "messaging.kafka.offset": each.offset,
                "messaging.batch.message_count": self._batch,
                "opd.events": [event.type for event in events.get(each.offset, ())],
            }
            self._spans.span(f"decide {_kind(each)}", each.command.traceparent, self._began_ns, attributes)


def _context(traceparent: str | None) -> Context | None:
    """Give what a command names, which anybody may have written: None if it is no trace."""
    context = _PROPAGATOR.extract({"traceparent": traceparent or ""})
    return context if trace.get_current_span(context).get_span_context().is_valid else None


def _kind(each: BatchedCommand) -> str:
    return type(each.command).__name__
