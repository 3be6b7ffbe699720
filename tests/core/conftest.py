"""The engines that are held to the contract; each test that asks for `make_engine` runs once for each of them."""

from collections.abc import Callable

import pytest

from allocation_core.model import Model
from tests.core.conformance import Engine


@pytest.fixture(params=["model"])
def make_engine(request: pytest.FixtureRequest) -> Callable[[], Engine]:
    """What gives an engine that has decided nothing yet."""
    engines: dict[str, Callable[[], Engine]] = {"model": Model}
    return engines[request.param]
