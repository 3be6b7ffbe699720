"""What an allocator counts, for Prometheus."""

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram

from schemas.events import WrittenEvent
from services.telemetry.registry import new_registry

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class AllocatorMetrics:
    """All partitions of one allocator, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = new_registry()
        self.decisions = Counter("opd_decisions", "Commands answered.", ["partition"], registry=self.registry)
        self.events = Counter("opd_events", "Events caused, by type.", ["type"], registry=self.registry)
        self.rejections = Counter("opd_rejections", "Commands refused, by reason.", ["reason"], registry=self.registry)
        self.invented = Counter(
            "opd_invented_departments",
            "Departments named before any doctor was registered in them.",
            registry=self.registry,
        )
        self.dead_letters = Counter("opd_dead_letters", "Unreadable records.", ["partition"], registry=self.registry)
        self.rewinds = Counter("opd_rewinds", "Partitions taken again.", ["partition"], registry=self.registry)
        self.batch = Histogram(
            "opd_batch_records",
            "Records a batch.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=self.registry,
        )
        self.script = Histogram("opd_script_seconds", "A script call.", buckets=_SECONDS, registry=self.registry)
        self.rebuild_remaining = Gauge(
            "opd_rebuild_remaining_records",
            "Records to decide again until Redis holds all that was said.",
            ["partition"],
            registry=self.registry,
        )
        self.rebuild_eta = Gauge(
            "opd_rebuild_eta_seconds", "Until then, at the pace so far.", ["partition"], registry=self.registry
        )
        self.partitions = Gauge("opd_partitions", "Partitions of the commands topic.", registry=self.registry)
        self.owned = Gauge("opd_partitions_owned", "Partitions that this allocator has.", registry=self.registry)
        self.waiting = Gauge(
            "opd_partitions_waiting",
            "Partitions that it has and cannot work on, by what it waits for.",
            ["for_what"],
            registry=self.registry,
        )
        self.lag = Gauge(
            "opd_consumer_lag_records",
            "Commands of its partitions behind the group's committed offset, looked at every 10 s.",
            ["partition"],
            registry=self.registry,
        )


class PartitionMetrics:
    """The share of one partition."""

    def __init__(self, metrics: AllocatorMetrics, partition: int) -> None:
        label = str(partition)
        self._metrics = metrics
        self._decisions = metrics.decisions.labels(label)
        self._dead_letters = metrics.dead_letters.labels(label)
        self.rewinds = metrics.rewinds.labels(label)
        self.rebuild_remaining = metrics.rebuild_remaining.labels(label)
        self.rebuild_eta = metrics.rebuild_eta.labels(label)
        self.batch = metrics.batch
        self.script = metrics.script

    def count(self, answers: Sequence[Sequence[WrittenEvent]], *, dead_letters: int) -> None:
        """Count what a batch was answered with: each command's events."""
        said = [event for answer in answers for event in answer]
        self._decisions.inc(len(answers))
        self._dead_letters.inc(dead_letters)
        for name, count in Tally([event.type for event in said]).items():
            self._metrics.events.labels(name).inc(count)
        for reason, count in Tally([event.reason for event in said if event.reason]).items():
            self._metrics.rejections.labels(reason).inc(count)
        # A department that is real begins with its first doctor.
        self._metrics.invented.inc(sum(event.sequence == 1 for event in said if event.reason))
