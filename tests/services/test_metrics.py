from typing import Any

from prometheus_client import generate_latest

from allocation_core.model import Model
from schemas.wire import written
from services.allocator.metrics import AllocatorMetrics, PartitionMetrics
from tests.core.commands import make_command

MONDAY_MS = 1_795_392_000_000  # 2026-11-23T00:00:00Z


def test_departments_that_a_sender_invents_are_counted_once_each() -> None:
    model, metrics = Model(), AllocatorMetrics()
    partition = PartitionMetrics(metrics, 0)
    doctor: dict[str, Any] = {"doctor_id": "a", "name": "a", "schedule": []}
    token: dict[str, Any] = {"token_id": "h.x.20261123.1"}
    for number, (kind, department, more) in enumerate(
        [
            ("CheckIn", "invented", token),
            ("CheckIn", "invented", token),
            ("CheckIn", "also-invented", token),
            ("RegisterDoctor", "real", doctor),
            ("CheckIn", "real", token),
        ]
    ):
        data = {"facility_id": "h", "department_id": department, **more}
        decided = model.decide(make_command(kind, f"c{number}", data), MONDAY_MS)
        partition.count([[written(event) for event in decided]], dead_letters=0)
    assert b"opd_invented_departments_total 2.0" in generate_latest(metrics.registry)
