"""Commands made the way they come: from JSON."""

from typing import Any

from pydantic_core import to_json

from schemas.commands import ANY_COMMAND, Command


def make_command(command_type: str, command_id: str, data: dict[str, Any], sender: str = "portal/web") -> Command:
    """Give a command of a type (`RequestToken`, …) with `data`; what is None in it is left out."""
    envelope = {
        "specversion": "1.0",
        "id": command_id,
        "source": sender,
        "type": f"opd.{command_type}.v1",
        "data": {name: value for name, value in data.items() if value is not None},
    }
    return ANY_COMMAND.validate_json(to_json(envelope))
