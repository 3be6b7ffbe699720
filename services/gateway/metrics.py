"""What the gateway counts, for Prometheus: requests, errors, durations. Never a path, which names tokens."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class GatewayMetrics:
    """One gateway, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
        self.streams = Gauge("opd_event_streams", "Connections that follow events.", registry=self.registry)
        self.dropped = Counter(
            "opd_event_streams_dropped", "Streams ended because they read too slowly.", registry=self.registry
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
