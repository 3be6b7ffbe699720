"""Mistakes that the simulation must find."""

from typing import Any, NamedTuple


class Planted(NamedTuple):
    """A mistake: what is replaced where."""

    replaced: tuple[tuple[Any, str, Any], ...]
