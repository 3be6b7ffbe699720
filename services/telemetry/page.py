"""Every metric of ours in one table: `docs/metrics.md` is made of it."""

from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from services.allocator.metrics import AllocatorMetrics
from services.auditor.metrics import VerifyMetrics
from services.board.metrics import BoardMetrics
from services.gateway.metrics import GatewayMetrics
from services.history.metrics import HistoryMetrics
from services.notifier.metrics import NotifierMetrics


class Metrics(Protocol):
    """What a service counts."""

    registry: CollectorRegistry


SERVICES: dict[str, Callable[[], Metrics]] = {
    "opd allocator": AllocatorMetrics,
    "opd history": HistoryMetrics,
    "opd gateway": GatewayMetrics,
    "opd board": BoardMetrics,
    "opd notifier": NotifierMetrics,
    "opd verify --metrics": VerifyMetrics,
}


def as_markdown() -> str:
    """Give the table as it stands in the documentation."""
    lines = ["| metric | labels | of | what |", "|---|---|---|---|"]
    for service, metrics in SERVICES.items():
        for metric in metrics_of(metrics().registry):
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001  it tells nobody else
            [described] = metric.describe()
            name = f"{described.name}_total" if described.type == "counter" else described.name
            lines.append(f"| `{name}` ({described.type}) | {labels} | `{service}` | {described.documentation} |")
    return "\n".join(lines) + "\n"


def metrics_of(registry: CollectorRegistry) -> Iterator[MetricWrapperBase]:
    """Give the metrics of a registry that are ours, in the order of their making."""
    for collector in registry._collector_to_names:  # noqa: SLF001  a registry shows nothing but samples
        if isinstance(collector, MetricWrapperBase):
            yield collector
