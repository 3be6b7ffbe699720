import filecmp
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic_core import to_json

from allocation_core.model import Model
from tests.core.conformance import CASES_FOLDER, Case, Engine, read_cases

SHARED_CASES = Path(__file__).parents[3] / "shared" / "conformance"
ENGINES = [Model]


@pytest.mark.parametrize("engine_type", ENGINES)
@pytest.mark.parametrize("case", read_cases(), ids=lambda case: case.name)
def test_engine_decides_as_the_contract_s_case_says(case: Case, engine_type: Callable[[], Engine]) -> None:
    engine = engine_type()
    sequence = 0
    for number, step in enumerate(case.steps):
        events = engine.decide(step.command, step.timestamp_ms)

        # As JSON: the order of the fields counts too.
        said = [to_json((event.type, event.data)) for event in events]
        assert said == [to_json(event) for event in step.events], f"step {number}"
        assert [event.sequence for event in events] == list(range(sequence + 1, sequence + 1 + len(events)))
        sequence += len(events)


@pytest.mark.skipif(not SHARED_CASES.is_dir(), reason="the contract's own folder is not beside this clone")
def test_cases_are_the_contract_s_own() -> None:
    names = sorted(path.name for path in SHARED_CASES.iterdir())
    assert names == sorted(path.name for path in CASES_FOLDER.iterdir())
    assert filecmp.cmpfiles(SHARED_CASES, CASES_FOLDER, names, shallow=False)[0] == names
