"""Commands in and events out, as all peers read and write them: plain JSON, nothing checked."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from schemas.wire import rfc3339


class Command(NamedTuple):
    """A record of the commands topic."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    id: str
    type: str
    data: dict[str, Any]


def read(partition: int, offset: int, timestamp_ms: int, key: bytes, value: bytes) -> Command:
    """Read one record."""
    document = from_json(value)
    return Command(partition, offset, timestamp_ms, key, document["id"], document["type"], document["data"])


def write(command: Command, first_sequence: int, said: Iterable[tuple[str, dict[str, Any]]]) -> list[bytes]:
    """Write what a command caused: types and data, in order."""
    values = []
    for n, (event_type, data) in enumerate(said):
        envelope: dict[str, object] = {
            "specversion": "1.0",
            "id": f"{command.partition}-{command.offset}-{n}",
            "source": "opd/allocator",
            "type": f"opd.{event_type}.v1",
            "time": rfc3339(command.timestamp_ms),
        }
        if "token_id" in data:
            envelope["subject"] = data["token_id"]
        envelope |= {"sequence": f"{first_sequence + n:016d}", "causationid": command.id, "data": data}
        values.append(to_json(envelope))
    return values
