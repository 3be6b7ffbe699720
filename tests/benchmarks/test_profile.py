"""Where the microseconds go: the stages are really run, and the flame graph tells nothing of the machine."""

import asyncio
from pathlib import Path

import pytest

from benchmarks import profile
from benchmarks.stages import run, whole_us
from services.stack import ValkeyServer


def test_every_stage_takes_time_and_redis_is_told_apart(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path)
    server.start()
    try:
        stages = asyncio.run(run(server, 4_000, 500))
    finally:
        server.stop()
    assert len(stages.least_us) == 8
    assert min(stages.least_us.values()) > 0
    assert stages.redis_us["in all"] == pytest.approx(
        sum(took_us for name, took_us in stages.redis_us.items() if name != "in all")
    )
    [table] = profile.show({"stages": stages.least_us, "redis": stages.redis_us})
    assert ["all of these", f"{whole_us(stages.least_us):.2f}"] in table.rows
    assert {"· hset", "· hmget"} <= {name for name, _ in table.rows}


def test_the_flame_graph_has_no_path_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = tmp_path / "py-spy"
    spy.write_text('#!/bin/sh\necho "<svg>$0 $*</svg>" > "$6"\n')
    spy.chmod(0o755)
    monkeypatch.setattr(profile, "SPY", spy)
    [flame] = profile.draw({}, tmp_path)
    assert flame.read_text() == f"<svg>python -m benchmarks.stages --commands {profile.FLAME_COMMANDS}</svg>\n"


def test_no_flame_graph_where_a_profiler_may_not_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spy = tmp_path / "py-spy"
    spy.write_text("#!/bin/sh\necho Permission denied >&2; exit 1\n")
    spy.chmod(0o755)
    monkeypatch.setattr(profile, "SPY", spy)
    assert profile.draw({}, tmp_path) == []
    assert capsys.readouterr().err == "no flame graph: Permission denied\n"
