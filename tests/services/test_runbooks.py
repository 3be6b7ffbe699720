"""docs/operations.md has a runbook for each alert, where the alert says that it stands, and names what there is."""

import re
from pathlib import Path

import pytest
import yaml

from services.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
RUNBOOKS = dict(re.findall(r"^### (Opd\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    assert RUNBOOKS.keys() == ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_says_what_one_sees_what_it_means_and_what_to_do(name: str) -> None:
    assert ALERTS[name]["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
    for part in ("**You see**", "**It means**", "**Do**"):
        assert part in RUNBOOKS[name]


def test_the_page_names_tests_files_and_commands_that_are_there() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named
    assert not [name for name in named if f"def {name}(" not in tests]
    paths = set(re.findall(r"`((?:tests|deploy|docs|services)/[\w./]+)`", PAGE))
    assert not [path for path in paths if not (ROOT / path).exists()]
    assert set(re.findall(r"`opd ([a-z-]+)", PAGE)) <= COMMANDS.keys()
    linked = set(re.findall(r"\]\(([\w./-]+\.(?:md|yml))", PAGE))
    assert not [link for link in linked if not (ROOT / "docs" / link).exists()]


def test_every_link_within_the_page_leads_somewhere() -> None:
    heads = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in heads}
    assert not [link for link in re.findall(r"\]\(#([\w-]+)\)", PAGE) if link not in anchors]
