"""Commands made the way they come: from JSON."""

from typing import Any

import msgspec
from pydantic_core import to_json

from schemas.commands import ANY_COMMAND, Command, CommandEnvelope
from schemas.plain import AnyCommand, read_plain_command
from schemas.wire import command_key


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


def as_model(command: AnyCommand) -> Command:
    """Give a command as the contract's model, whichever reader it came from."""
    return command if isinstance(command, CommandEnvelope) else ANY_COMMAND.validate_json(msgspec.json.encode(command))


def as_allocators_read_it(command: Command) -> AnyCommand:
    """Give a command as the quick reader gives it."""
    value = command.model_dump_json(exclude_unset=True).encode()
    return read_plain_command(command_key(command), value, 0) or command
