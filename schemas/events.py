"""What the engine says (spec §2)."""

from typing import Any, NamedTuple


class Event(NamedTuple):
    """One thing that a command caused, before it stands in a record.

    Attributes:
        type: `TokenConfirmed`, …
        sequence: the department's running event number, from 1.
        data: the fields of the contract, in its order.
    """

    type: str
    sequence: int
    data: dict[str, Any]
