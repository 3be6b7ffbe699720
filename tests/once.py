"""A pytest plugin for coverage and mutation testing: of what is tested several times over, it leaves the first.

One server, for the other says the same; the first random day; and no search for what nobody thought of.
"""

from typing import Any

import pytest

_SEARCHES = {"test_machine.py", "test_days.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the others out."""
    items[:] = [item for item in items if _is_the_first(item)]


def _is_the_first(item: pytest.Item) -> bool:
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    is_another = "redis_server" in parameters.values() or parameters.get("seed", 0) > 0
    return not is_another and item.path.name not in _SEARCHES
