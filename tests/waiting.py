"""Waiting without guessing how long."""

import time
from collections.abc import Callable

WITHIN_S = 90.0  # tells what hangs, not what is slow: a process alone may take half a minute to start beside others


def until(holds: Callable[[], object], what: str, *, timeout_s: float = WITHIN_S) -> None:
    """Return as soon as it holds; fail if it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)
