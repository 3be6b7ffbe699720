"""docker-compose.yml as Compose reads it, without Docker."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.console import ROOT

FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::-([^}]*))?\})")


def read(**variables: str) -> dict[str, Any]:
    """Give the file with these variables set and the others at what they are by default."""
    described: dict[str, Any] = yaml.safe_load(interpolate(FILE.read_text(encoding="utf-8"), variables))
    return described


def services(**variables: str) -> dict[str, dict[str, Any]]:
    """Give its services by name."""
    found: dict[str, dict[str, Any]] = read(**variables)["services"]
    return found


def interpolate(text: str, variables: dict[str, str]) -> str:
    """Put in the variables, as Compose does; one with neither value nor default is a KeyError."""

    def value(found: re.Match[str]) -> str:
        dollar, name, default = found.groups()
        if dollar:
            return "$"
        return variables.get(name) or default if default is not None else variables[name]

    return _VARIABLE.sub(value, text)


def variables_in(file: Path) -> dict[str, str]:
    """Give what an env file sets."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", maxsplit=1) for line in lines)
