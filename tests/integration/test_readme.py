"""README.md and docs/architecture.md: their lines run, their tables are whole, their links lead somewhere."""

import asyncio
import json
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.cli import COMMANDS
from services.settings import Settings
from services.simulator.day import Day
from services.simulator.play import play
from services.stack import Stack
from services.stack.system import Service, System
from tests.console import ROOT

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_python_lines_ask_for_a_token_in_a_running_system(tmp_path: Path, redis_url: str) -> None:
    lines = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert lines
    today = datetime.now(UTC).date().isoformat()
    stack = Stack(tmp_path / ".opd", redis=redis_url)  # a Kafka of its own: the lines name the topics of every system
    with System(stack, Settings(), [Service("allocator")]) as system:
        asyncio.run(play(Day(1, today, doctors=1, patients=0, departments=1), system.settings))
        script = subprocess.Popen(  # noqa: S603 - our own page
            [sys.executable, "-c", lines[1]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        too_late = threading.Timer(60, script.kill)
        too_late.start()
        assert script.stdout is not None
        events = []
        for line in script.stdout:
            events.append(json.loads(line))
            if events[-1]["data"].get("patient_id") == "p-7f3a9c":
                break
        too_late.cancel()
        script.kill()
        _, errors = script.communicate()
    assert events, errors
    assert events[0]["type"] == "opd.DoctorRegistered.v1", "it follows from the beginning"
    assert events[-1]["type"] == "opd.TokenConfirmed.v1"


def test_every_command_and_setting_has_its_row() -> None:
    text = README.read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `opd ([\w-]+)` \|", text, re.MULTILINE)) == set(COMMANDS)
    rows = "".join(re.findall(r"^\| `OPD_.*", text, re.MULTILINE))
    named = set(re.findall(r"`(OPD_\w+)`", rows))
    assert named == {f"OPD_{name.upper()}" for name in Settings.model_fields} | {"OPD_CACHE_DIR"}
    for name, field in Settings.model_fields.items():
        assert field.default is None or f"`{field.default}`" in rows, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link
