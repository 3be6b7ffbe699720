"""What an audit leaves for Prometheus, in a file: it ends, and cannot be asked afterwards."""

import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from services.auditor.report import Invariant, Report


class VerifyMetrics:
    """One audit."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._holds = Gauge(
            "opd_verify_holds",
            "Whether an invariant held in the last audit: 1 or 0.",
            ["invariant"],
            registry=self.registry,
        )
        self._finished = Gauge(
            "opd_verify_finished_timestamp_seconds", "When the last audit ended.", registry=self.registry
        )
        self._commands = Gauge("opd_verify_commands", "Commands that it audited.", registry=self.registry)

    def write(self, report: Report, file: Path) -> None:
        """Put what was found into a file that node_exporter's textfile collector reads, whole or not at all."""
        for invariant in Invariant:
            if invariant not in report.unchecked:
                self._holds.labels(invariant.value).set(invariant not in report.broken)
        self._finished.set(time.time())
        self._commands.set(report.commands)
        write_to_textfile(str(file), self.registry)
