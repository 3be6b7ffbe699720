"""What the projector counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class HistoryMetrics:
    """All partitions, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.lag = Gauge(
            "opd_history_lag_records",
            "Records of the events topic not yet kept.",
            ["partition"],
            registry=registry,
        )
        self.rows = Counter("opd_history_rows", "Rows written, by table.", ["table"], registry=registry)
        self.repeats = Counter("opd_history_repeats", "Records dropped as repeats.", ["partition"], registry=registry)
        self.restarts = Counter("opd_history_restarts", "Beginnings after a failure.", registry=registry)
        self.write = Histogram("opd_history_write_seconds", "A transaction.", buckets=_SECONDS, registry=registry)
