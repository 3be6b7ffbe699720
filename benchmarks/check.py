"""`make bench-check`: has anything become much slower or larger than `baseline.json` says?

What is compared are ratios within one run, and bytes: they move little from machine to machine. The bounds are
generous, for the machines are shared.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.bench import Options
from benchmarks.contenders import KAFKA_STREAMS, ONE_WORKER, PASSTHROUGH, TWO_WORKERS
from benchmarks.drains import DRAINS, ratios
from benchmarks.latency import LATENCY
from benchmarks.measurements import run
from benchmarks.memory import MEMORY
from services.bare_records import take_bare_records

BASELINE = Path(__file__).with_name("baseline.json")
LEAST_SHARE = 0.7  # of a figure of which more is better
MOST_SHARE = 1.4  # of one of which less is better
LATENCY_MOST_SHARE = 2.5  # a percentile is noisier
COMMANDS = 100_000


class Figure(NamedTuple):
    """A figure that is watched: its value, and the share of the baseline's that it must not pass.

    A share below 1 is the least that is well, one above 1 the most.
    """

    value: float
    bound_share: float

    def is_well(self, baseline: float) -> bool:
        """Tell whether it is within its bound."""
        bound = baseline * self.bound_share
        return self.value >= bound if self.bound_share < 1 else self.value <= bound


def figures_of(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Give the watched figures of a run; those of Kafka Streams are missing where it was left out."""
    runs = results["drains"]["runs"]
    found = {
        "decisions of one worker for one of the bytes alone": Figure(_ratio(runs, ONE_WORKER.name), LEAST_SHARE),
        "decisions of two workers for one of one": Figure(_ratio(runs, TWO_WORKERS.name, ONE_WORKER.name), LEAST_SHARE),
        "commands rebuilt for one decided": Figure(
            median(run[ONE_WORKER.name]["rebuild_per_second"] / run[ONE_WORKER.name]["per_second"] for run in runs),
            LEAST_SHARE,
        ),
        "CPU of a worker for that of moving the bytes": Figure(_cpu(runs, "client", PASSTHROUGH.name), MOST_SHARE),
        "CPU of Redis for that of the script alone": Figure(_cpu(runs, "redis", "raw-lua"), MOST_SHARE),
        "p99 at 500/s for that of the bytes alone": Figure(_p99(results, ONE_WORKER.title), LATENCY_MOST_SHARE),
        "bytes a live token": Figure(results["memory"]["token_bytes"], MOST_SHARE),
        "bytes a remembered command id": Figure(results["memory"]["id_bytes"], MOST_SHARE),
    }
    if all(KAFKA_STREAMS.name in run for run in runs):
        share = _ratio(runs, ONE_WORKER.name, KAFKA_STREAMS.name)
        found["decisions of one worker for one of Kafka Streams"] = Figure(share, LEAST_SHARE)
    return found


def worse(found: Mapping[str, Figure], baseline: Mapping[str, float]) -> list[str]:
    """Give a line for each figure that is out of its bound; what the baseline does not have is not looked at."""
    return [
        f"{name}: {figure.value:.2f}, and {baseline[name]:.2f} in the baseline"
        for name, figure in found.items()
        if name in baseline and not figure.is_well(baseline[name])
    ]


def main() -> None:
    """Measure, and exit with 1 where something is out of its bound; or write the baseline."""
    parser = argparse.ArgumentParser(prog="make bench-check OPTIONS=…", description=__doc__)
    parser.add_argument("--update", action="store_true", help=f"write {BASELINE.name} instead")
    parser.add_argument("--commands", type=int, default=COMMANDS, help="how many a drain has")
    arguments = parser.parse_args()
    if not (arguments.update or BASELINE.exists()):
        sys.exit(f"there is no {BASELINE.name}\ntry: make bench-check OPTIONS=--update, on a quiet machine")
    contenders = (PASSTHROUGH, ONE_WORKER, TWO_WORKERS, KAFKA_STREAMS)
    found = figures_of(run(Options(commands=arguments.commands, contenders=contenders), [DRAINS, LATENCY, MEMORY]))
    for name, figure in found.items():
        sys.stdout.write(f"{name}: {figure.value:.2f}\n")
    if arguments.update:
        values = {name: round(figure.value, 3) for name, figure in found.items()}
        BASELINE.write_text(json.dumps(values, indent=2) + "\n")
        return
    if lines := worse(found, json.loads(BASELINE.read_text())):
        sys.exit("\n".join(["worse than the baseline allows:", *lines]))


def _ratio(runs: list[dict[str, Any]], name: str, of: str = PASSTHROUGH.name) -> float:
    return median(ratios(runs, name, of))


def _cpu(runs: list[dict[str, Any]], part: str, of: str) -> float:
    shares: list[float] = [run[ONE_WORKER.name]["cpu_us"][part] / run[of]["cpu_us"][part] for run in runs]
    return median(shares)


def _p99(results: Mapping[str, Any], title: str) -> float:
    p99_ms: dict[str, float] = {row["title"]: row["p99"] for row in results["latency"]["rows"]}
    return p99_ms[title] / p99_ms[PASSTHROUGH.title]


if __name__ == "__main__":
    take_bare_records()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    main()
