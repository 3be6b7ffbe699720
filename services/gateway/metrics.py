"""What the gateway counts, for Prometheus: requests, errors, durations. Never a path, which names tokens."""

from prometheus_client import Counter, Gauge, Histogram

from schemas.plain import Known
from services.telemetry.registry import new_registry

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class GatewayMetrics:
    """One gateway, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = new_registry()
        self._requests = Counter(
            "opd_http_requests", "Answers, by route and status.", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "opd_http_request_seconds",
            "From a request to its answer's end.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.outcome = Histogram(
            "opd_outcome_seconds", "From a command's sending to its outcome.", buckets=_SECONDS, registry=self.registry
        )
        self.pending = Counter(
            "opd_outcomes_not_awaited", "Commands whose outcome did not come in time.", registry=self.registry
        )
        self.in_flight = Gauge("opd_http_requests_in_flight", "Requests being answered.", registry=self.registry)
        self.limited = Counter(
            "opd_rate_limited", "Requests refused because there were too many.", ["policy"], registry=self.registry
        )
        self.limit_failures = Counter(
            "opd_rate_limit_failures",
            "Times that Redis did not count; for 5 s after each everybody is let in.",
            registry=self.registry,
        )
        self.streams = Gauge("opd_event_streams", "Connections that follow events.", registry=self.registry)

        # What the library looks up anew for each answer.
        self._answered = Known(self._children)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        requests, durations = self._answered[method, route, status]
        requests.inc()
        durations.observe(seconds)

    def _children(self, answer: tuple[str, str, int]) -> tuple[Counter, Histogram]:
        method, route, status = answer
        return self._requests.labels(method, route, str(status)), self._seconds.labels(method, route)
