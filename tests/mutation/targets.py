"""What is mutated, and by which tests a mistake in it must be found."""

from pathlib import Path
from typing import NamedTuple

from tests.mutation.lua import lua_mutants
from tests.mutation.mutant import Mutant
from tests.mutation.python import python_mutants

ROOT = Path(__file__).parents[2]


class Target(NamedTuple):
    """Files, as patterns within the repository, and what pytest is told to run."""

    files: tuple[str, ...]
    tests: tuple[str, ...]

    def mutants(self) -> list[Mutant]:
        """Give all mutants of the files."""
        found: list[Mutant] = []
        for file in sorted(path for pattern in self.files for path in ROOT.glob(pattern)):
            name = file.relative_to(ROOT).as_posix()
            found += lua_mutants(ROOT, name) if file.suffix == ".lua" else python_mutants(ROOT, name)
        return found


def _core(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/core/test_{name}.py" for name in names)


def _lua(*names: str) -> tuple[str, ...]:
    return tuple(f"allocation_core/lua/{name}.lua" for name in names)


_ON_VALKEY = ("-k", "not [model and not model]")
_DECISIONS = _core("conformance", "corners", "outcomes", "twins")
_STATES = (
    *_core("differences", "loading", "state", "store"),
    "tests/core/test_invented.py::test_an_invented_department_is_loaded_as_it_was",
)

TARGETS = {
    "model": Target(
        ("allocation_core/model.py", "allocation_core/pool.py", "allocation_core/calendar.py"),
        (
            *_core("calendar"),
            *_DECISIONS,
            "tests/core/test_state.py::test_a_model_made_from_its_state_decides_on_as_the_model_does",
            *("-k", "not valkey_server or twins"),
        ),
    ),
    "lua": Target(
        _lua("commands/*", "decide_batch", "includes/*"),
        (*_DECISIONS, *_core("batches", "forgetting", "invented", "state", "store"), *_ON_VALKEY),
    ),
    "scripts": Target(
        _lua("check", "clear", "fence", "load", "mark", "read_*"),
        (*_core("outcomes"), *_STATES, *_ON_VALKEY),
    ),
    "store": Target(
        tuple(
            f"allocation_core/{name}.py"
            for name in ("digests", "layout", "loading", "outcomes", "scripts", "state", "store", "stored_state")
        ),
        (*_DECISIONS, *_core("batches", "digests", "scripts"), *_STATES, *_ON_VALKEY),
    ),
    "codec": Target(
        tuple(
            f"schemas/{name}.py" for name in ("commands", "faults", "follow", "plain", "plain_events", "wire", "words")
        ),
        ("tests/schemas",),
    ),
    "recovery": Target(
        tuple(f"services/allocator/{name}.py" for name in ("feed", "group", "owner", "records")),
        (
            *(f"tests/services/test_{name}.py" for name in ("feed", "group", "owner", "records")),
            "tests/mutation/schedules.py",
        ),
    ),
}
