"""A pytest plugin for coverage and mutation testing: of what is tested several times over, it leaves the first.

One server, for the other says the same; the first random day; no search for what nobody thought of, and none for a
smaller example of what failed; nothing that does the same thousands of times over.
"""

from typing import Any

import pytest
from hypothesis import Phase, settings

_SEARCHES = {"test_machine.py", "test_days.py"}
_THOUSANDS = {
    "test_twenty_thousand_records_are_judged_as_the_oracle_judges_them",
    "test_an_invented_department_costs_some_bytes_and_no_key",
}


def pytest_configure() -> None:
    """Look for no smaller example."""
    settings.register_profile("once", phases=(Phase.explicit, Phase.generate))
    settings.load_profile("once")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the others out."""
    items[:] = [item for item in items if _is_the_first(item)]


def _is_the_first(item: pytest.Item) -> bool:
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    is_another = "redis_server" in parameters.values() or parameters.get("seed", 0) > 0
    return not is_another and item.path.name not in _SEARCHES and item.name not in _THOUSANDS
