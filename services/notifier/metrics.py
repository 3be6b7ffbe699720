"""What the notifier counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.notifier.notices import Kind

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class NotifierMetrics:
    """All of it, in a registry of its own; no label names a patient or an address."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.lag = Gauge(
            "opd_notifier_lag_records", "Records of the events topic not yet taken.", ["partition"], registry=registry
        )
        self.new = Counter("opd_notifier_messages", "Messages that events asked for.", registry=registry)
        self.ended = Counter(
            "opd_notifier_ended",
            "Messages done with, by kind and what became of them.",
            ["kind", "outcome"],
            registry=registry,
        )
        for kind in Kind:  # a series that begins with its first dead letter would hide it from `increase`
            self.ended.labels(kind, "DEAD")
        self.failures = Counter(
            "opd_notifier_channel_failures", "Tries that a channel did not take.", ["channel"], registry=registry
        )
        self.send = Histogram(
            "opd_notifier_send_seconds", "A channel's answer.", ["channel"], buckets=_SECONDS, registry=registry
        )
        self.restarts = Counter("opd_notifier_restarts", "Beginnings after a failure.", registry=registry)
