"""What the projector counts, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

from services.telemetry.registry import new_registry

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_RECORDS = (1, 10, 50, 100, 500, 1000, 5000, 10_000)
_PLACES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 900, 1000)  # R7: no more than 1000 wait


class HistoryMetrics:
    """All partitions, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = new_registry()
        self.lag = Gauge(
            "opd_history_lag_records",
            "Records of the events topic not yet kept.",
            ["partition"],
            registry=registry,
        )
        self.rows = Counter("opd_history_rows", "Rows written, by table.", ["table"], registry=registry)
        self.repeats = Counter("opd_history_repeats", "Records dropped as repeats.", ["partition"], registry=registry)
        self.restarts = Counter("opd_history_restarts", "Beginnings after a failure.", registry=registry)
        self.working = Gauge(
            "opd_history_working", "1 while it follows the topic; 0 while it stands by.", registry=registry
        )
        self.faults = Counter(
            "opd_history_faults",
            "Records that were not as they must be in the events topic.",
            ["partition"],
            registry=registry,
        )
        self.batch = Histogram(
            "opd_history_batch_records", "Records a transaction.", buckets=_RECORDS, registry=registry
        )
        self.position = Histogram(
            "opd_waitlist_position", "Places in a waitlist that were given.", buckets=_PLACES, registry=registry
        )
        self.write = Histogram("opd_history_write_seconds", "A transaction.", buckets=_SECONDS, registry=registry)
