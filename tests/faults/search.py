"""The search for a seed whose schedule shows a planted mistake."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.faults.planted import PLANTED
from tests.faults.schedule import play

SEEDS = Path(__file__).with_name("planted_seeds.json")
WITHIN = 1000


def first_seed(number: int) -> int | None:
    """Give the first seed that shows a planted mistake, by its number in `PLANTED`."""
    return next((seed for seed in range(WITHIN) if play(seed, PLANTED[number]).breaches), None)


def keep_seeds(seeds: Mapping[str, int | None]) -> None:
    """Write them beside the tests."""
    SEEDS.write_text(json.dumps(seeds, indent=2) + "\n")


def kept_seeds() -> dict[str, int]:
    """Read them."""
    seeds: dict[str, int] = json.loads(SEEDS.read_text())
    return seeds
