"""What a board counts, for Prometheus."""

from prometheus_client import Counter, Gauge

from services.telemetry.registry import new_registry


class BoardMetrics:
    """One board, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = new_registry()
        self.streams = Gauge("opd_board_streams", "Screens and phones that listen.", registry=self.registry)
        self.days = Gauge("opd_board_days", "Departments' days that are followed.", registry=self.registry)
        self.passed = Counter(
            "opd_board_passed_requests", "Requests of the staff's pages, by status.", ["status"], registry=self.registry
        )
