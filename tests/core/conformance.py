"""The conformance cases of the contract, read into what an engine takes and gives."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic_core import to_json

from schemas.commands import ANY_COMMAND, Command
from schemas.events import Event

CASES_FOLDER = Path(__file__).parent.parent / "conformance"


class Engine(Protocol):
    """Whatever decides commands: the model, or a twin of it."""

    def decide(self, command: Command, timestamp_ms: int) -> list[Event]: ...


@dataclass(frozen=True)
class Step:
    command: Command
    timestamp_ms: int
    events: list[tuple[str, dict[str, Any]]]
    """What must follow: type (`TokenConfirmed`, …) and data of each event."""


@dataclass(frozen=True)
class Case:
    name: str
    steps: list[Step]


def read_cases() -> list[Case]:
    return [_case(path) for path in sorted(CASES_FOLDER.glob("*.json"))]


def _case(path: Path) -> Case:
    case = json.loads(path.read_bytes())
    return Case(path.stem, [_step(step, case["record_timestamp_ms"]) for step in case["steps"]])


def _step(step: dict[str, Any], timestamp_ms: int) -> Step:
    return Step(
        command=ANY_COMMAND.validate_json(to_json(step["command"])),
        timestamp_ms=step.get("record_timestamp_ms", timestamp_ms),
        events=[(event["type"].removeprefix("opd.").removesuffix(".v1"), event["data"]) for event in step["events"]],
    )
