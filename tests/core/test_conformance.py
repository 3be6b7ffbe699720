import filecmp
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic_core import to_json

from tests.core.conformance import CASES_FOLDER, Case, Engine, read_cases
from tests.core.invariants import Books

SHARED_CASES = Path(__file__).parents[3] / "shared" / "conformance"


@pytest.mark.parametrize("case", read_cases(), ids=lambda case: case.name)
def test_engine_decides_as_the_case_says(case: Case, make_engine: Callable[[], Engine]) -> None:
    engine, books = make_engine(), Books()
    for number, step in enumerate(case.steps):
        events = engine.decide(step.command, step.timestamp_ms)

        # As JSON: the order of the fields counts too.
        said = [to_json((event.type, event.data)) for event in events]
        assert said == [to_json(event) for event in step.events], f"step {number}"
        books.enter(step.command, step.timestamp_ms, events)


@pytest.mark.skipif(not SHARED_CASES.is_dir(), reason="the contract's own folder is not beside this clone")
def test_cases_are_the_contract_s_own() -> None:
    names = sorted(path.name for path in SHARED_CASES.iterdir())
    assert names == sorted(path.name for path in CASES_FOLDER.iterdir())
    assert filecmp.cmpfiles(SHARED_CASES, CASES_FOLDER, names, shallow=False)[0] == names
