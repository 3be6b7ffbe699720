"""The workflow of CI, its action and the settings of what proposes updates are what they must be."""

import json
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import validator_for
from ruamel.yaml import YAML

from tests import compose
from tests.console import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
ACTION = ROOT / ".github" / "actions" / "setup" / "action.yml"
DESCRIBED: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())
STEPS = [step for job in DESCRIBED["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-workflows", WORKFLOW),
        ("github-actions", ACTION),
        ("renovate", ROOT / "renovate.json"),
        ("compose-spec", compose.FILE),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_files_are_what_their_readers_take(schema: str, file: Path) -> None:
    text = resources.files("check_jsonschema.builtin_schemas.vendor").joinpath(f"{schema}.json").read_text()
    taken = json.loads(text)
    described = YAML(typ="safe", pure=True).load(file)  # YAML 1.2, in which `on` is no truth value
    assert [error.message for error in validator_for(taken)(taken).iter_errors(described)] == []


@pytest.mark.parametrize("file", [WORKFLOW, ACTION], ids=lambda file: file.name)
def test_actions_of_others_are_pinned_by_commit(file: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", file.read_text())
    others = [(name, comment) for name, comment in used if not name.startswith("./")]
    assert others
    for name, comment in others:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name), name
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), name
    assert {name.partition("/.")[0] for name, _ in used} - {name for name, _ in others} <= {"."}


def test_it_may_read_the_sources_and_nothing_else() -> None:
    assert DESCRIBED["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in DESCRIBED["jobs"].values())
    assert all("timeout-minutes" in job for job in DESCRIBED["jobs"].values())
    checkouts = [step for step in STEPS if "checkout@" in step.get("uses", "")]
    assert len(checkouts) == len(DESCRIBED["jobs"])
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_it_runs_what_there_is_to_run() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    words = "\n".join(step["run"] for step in STEPS if "run" in step)
    made = set(re.findall(r"\bmake ([a-z-]+)", words))
    assert {"lint", "test"} <= made <= targets
    for path in re.findall(r"\b(?:tests|deploy)/[\w./]+", words):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"(?:run --rm|build --quiet|--exit-code-from) (\w+)", words):
        assert name in compose.services(), name


def test_it_runs_on_every_python_that_is_promised() -> None:
    pythons = DESCRIBED["jobs"]["test"]["strategy"]["matrix"]["python"]
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert pythons[0] == least == yaml.safe_load(ACTION.read_text())["inputs"]["python-version"]["default"]
    assert [int(version.split(".")[1]) for version in pythons] == list(range(11, 11 + len(pythons)))
    assert f"FROM python:{least}-slim" in (ROOT / "Dockerfile").read_text()
