"""`python -m tests.faults SEED`: play one schedule and tell its story; `python -m tests.faults FIRST:LAST`: many."""

import sys
import time
from collections import Counter

from tests.faults.schedule import play


def main() -> int:
    first, _, last = sys.argv[1].partition(":")
    if not last:
        outcome = play(int(first))
        sys.stdout.write("\n".join(outcome.story) + "\n")
        return int(bool(outcome.breaches))
    failed, situations, began = [], Counter[str](), time.monotonic()
    for seed in range(int(first), int(last)):
        outcome = play(seed)
        situations += outcome.situations
        if outcome.breaches:
            failed.append(seed)
            sys.stdout.write(f"{seed}: {outcome.breaches[0]}\n")
    count = int(last) - int(first)
    for name, reached in situations.most_common():
        sys.stdout.write(f"{reached:8}  {name}\n")
    sys.stdout.write(f"{count} schedules, {count / (time.monotonic() - began):.0f}/s, failed: {failed}\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
