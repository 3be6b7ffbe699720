"""How the engine does, as the gateway tells it."""

import json
from dataclasses import replace
from pathlib import Path

from services.gateway.routes.operations import last_audit
from tests.gateway.world import Run, World


def test_it_tells_of_partitions_allocators_and_the_last_audit(in_world: Run, tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    async def run(world: World) -> None:
        world.app.state.parts = replace(world.parts, verify_report=report)
        await world.register()
        await world.book("p1")
        told = (await world.get("/operations")).json()
        assert sum(each["commands"] for each in told["partitions"]) == 2
        assert told["allocators"] == [{"member": "allocator", "partitions": [0, 1, 2, 3][: len(told["partitions"])]}]
        assert "audit" not in told
        report.write_text(json.dumps({"holds": True, "commands": 2, "invariants": {"I1": {"holds": True}}}))
        assert (await world.get("/operations")).json()["audit"]["invariants"] == {"I1": True}
        world.log.is_silent = True
        assert (await world.get("/operations")).json()["type"] == "/problems/log-unavailable"

    in_world(run)


def test_a_report_that_is_none_is_no_audit(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    assert last_audit(None) is None
    assert last_audit(file) is None
    for text in ("", "[]", "{}", '{"holds": true, "commands": 1, "invariants": {"I1": true}}'):
        file.write_text(text)
        assert last_audit(file) is None
