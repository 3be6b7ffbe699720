"""Connections that are lost while something is written to them, as uvloop has it and as clients expect it.

For a moment a connection is gone and its reader does not know yet. asyncio lets a write to it pass; uvloop raises a
bare RuntimeError. aiokafka and redis-py know lost connections by their OSError only: an unknown error ends an owner, or
one of aiokafka's own tasks, and with it the allocator's place in the group.
"""

from asyncio import StreamWriter
from collections.abc import Callable
from functools import wraps
from typing import Any

_OF_UVLOOP = "the handler is closed"


def report_lost_connections() -> None:
    """Make every stream of this process raise ConnectionResetError for a connection that was lost."""
    if not hasattr(StreamWriter.write, "__wrapped__"):
        for name in ("write", "writelines"):  # neither client can be given streams of ours
            setattr(StreamWriter, name, _reporting(getattr(StreamWriter, name)))


def _reporting(write: Callable[[StreamWriter, Any], None]) -> Callable[[StreamWriter, Any], None]:
    @wraps(write)
    def reporting(writer: StreamWriter, data: Any) -> None:
        try:
            write(writer, data)
        except RuntimeError as error:
            if _OF_UVLOOP not in str(error):
                raise
            raise ConnectionResetError("the connection was lost") from error

    return reporting
