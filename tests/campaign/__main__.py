"""`python -m tests.campaign`: faults against real processes under load; exit 1 if a promise was not kept."""

import argparse
import logging
import random
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.campaign.campaign import Campaign, Outcome, long
from tests.campaign.faults import ALL


def main() -> int:
    """Run a campaign and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the load and of the order")
    parser.add_argument("--minutes", type=float, default=9, help="how long faults are played, at least each once")
    parser.add_argument("--only", action="append", metavar="WORD", help="faults whose name holds it, once each")
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # servers are meant to be away
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    began_at = time.monotonic()

    def say(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began_at), 60)
        console.print(f"{minutes}:{seconds:02}  {text}", markup=False, soft_wrap=True)

    say(f"seed {given.seed}")
    if given.only:
        chosen = ALL.those(lambda fault: any(word in fault.name for word in given.only))
        outcome = Campaign(given.seed, say).play(chosen, for_s=0)
    else:
        outcome = long(given.seed, say, for_s=given.minutes * 60)
    show(outcome, console)
    if outcome.broken is not None:
        console.print(f"\nBROKEN, seed {given.seed}: {outcome.broken}", markup=False, soft_wrap=True)
    return 0 if outcome.broken is None else 1


def show(outcome: Outcome, console: Console) -> None:
    """Print the table."""
    table = Table(box=None)
    for name in ("fault", "at s", "deciding after s", "goal s", "commands sent", "repeats", "lost"):
        table.add_column(name, justify="left" if name == "fault" else "right", no_wrap=True)
    table.add_column("proof", max_width=70)
    for played in outcome.played:
        goal = "" if played.fault.goal_s is None else f"{played.fault.goal_s:g}{' MISSED' * played.is_late}"
        table.add_row(
            played.fault.name,
            f"{played.at_s:.0f}",
            f"{played.recovery_s:.2f}",
            goal,
            f"{played.sent:,}",
            f"{played.repeats:,}",
            f"{outcome.lost_in(played):,}",
            played.proof,
        )
    console.print(table)
    for line in (*(f"skipped: {each}" for each in outcome.skipped), *outcome.audits):
        console.print(line, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
