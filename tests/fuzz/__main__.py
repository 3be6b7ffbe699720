"""`make fuzz`: any number of records in this process, and some of them through an allocator that runs."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from redis import Redis

from services.settings import Settings
from services.stack import Stack
from tests.fuzz import running
from tests.fuzz.generator import ROUND, Fuzzed, a_round
from tests.fuzz.judge import judge

_TELL_EVERY_S = 10.0


def main() -> None:
    """Fuzz, and say what was reached; the first thing wrong ends it with what it takes to see it again."""
    arguments = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    arguments.add_argument("--records", type=int, default=1_000_000, help="in this process")
    arguments.add_argument("--running", type=int, default=50_000, help="through a running allocator")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--first-round", type=int, default=0, help=f"where to begin; a round has {ROUND} records")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="opd-fuzz-") as folder, Stack(Path(folder) / "stack") as stack:
        tally = in_process(options.seed, options.first_round, options.records, stack.redis)
        for name, count in sorted(tally.items()):
            sys.stdout.write(f"{count:10,}  {name}\n")
        if options.running:
            through_an_allocator(options.seed, options.running, stack)


def in_process(seed: int, first_round: int, records: int, redis_url: str) -> Counter[str]:
    """Judge so many records, in whole rounds."""
    tally: Counter[str] = Counter()
    began = told = time.monotonic()
    rounds = range(first_round, first_round - (-records // ROUND))
    for done, number in enumerate(rounds, start=1):
        try:
            tally += judge(a_round(seed, number), redis_url)
        except AssertionError:
            again = f"--seed {seed} --first-round {number} --records {ROUND} --running 0"
            sys.stderr.write(f"\nwrong in round {number}; again: make fuzz OPTIONS='{again}'\n")
            raise
        now = time.monotonic()
        if now - told > _TELL_EVERY_S or done == len(rounds):
            rate = done * ROUND / (now - began)
            sys.stderr.write(f"{done * ROUND:,} of {len(rounds) * ROUND:,} records, {rate:,.0f}/s, nothing wrong\n")
            told = now
    return tally


def through_an_allocator(seed: int, records: int, stack: Stack) -> None:
    """Judge what a running allocator makes of records."""
    settings = Settings(kafka_bootstrap_servers=stack.kafka, redis_url=stack.redis, log_level="warning")
    with Redis.from_url(stack.redis) as redis:
        redis.flushall()
    began = time.monotonic()
    answered, refused = running.run(settings, list(islice(_records(seed), records)))
    sys.stdout.write(
        f"through a running allocator: {records:,} records in {time.monotonic() - began:.0f} s, {answered:,} answered, "
        f"{refused:,} dead letters, each byte for byte; the audit holds\n"
    )


def _records(seed: int) -> Iterator[Fuzzed]:
    number = 0
    while True:
        yield from a_round(seed, number)
        number += 1


if __name__ == "__main__":
    main()
