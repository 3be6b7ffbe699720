"""`make bench`: how fast we are, beside moving the bytes alone and beside what else a hospital could pick."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.bench import Options
from benchmarks.contenders import CONTENDERS
from benchmarks.long import LONG
from benchmarks.measurements import MEASUREMENTS, run
from benchmarks.report import print_tables, tables_of, write_page
from services.bare_records import take_bare_records
from services.logs import configure
from services.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks"
LONGEST_COMMANDS = 10_000_000


def main() -> None:
    """Measure, and print tables or JSON."""
    arguments = _arguments()
    options, chosen = _chosen(arguments)
    results = run(options, [each for each in MEASUREMENTS if each.name in chosen])
    if arguments.json:
        sys.stdout.write(json.dumps(results) + "\n")
    else:
        print_tables(tables_of(results, MEASUREMENTS))
    if arguments.page:
        write_page(arguments.page, results, MEASUREMENTS)
        sys.stderr.write(f"written: {arguments.page}/README.md, results.json and plots\n")


def _arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    names = [*(each.name for each in MEASUREMENTS), *(each.name for each in CONTENDERS)]
    parser = argparse.ArgumentParser(prog="make bench OPTIONS=…", description=__doc__)
    parser.add_argument("--commands", type=int, default=Options.commands, help="how many a drain has")
    parser.add_argument("--runs", type=int, default=Options.runs, help="of each drain; the medians count")
    parser.add_argument("--quick", action="store_true", help="a look: a tenth of the commands, one run")
    parser.add_argument("--long", action="store_true", help=f"the long drain too, of {LONGEST_COMMANDS:,} commands")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=names,
        default=[],
        help=f"may stand again: {', '.join(names)}",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--page", type=Path, help=f"the folder of the page; {PAGE.name} in docs for a whole run")
    arguments = parser.parse_args(words)
    if not (arguments.page or arguments.quick or arguments.only):
        arguments.page = PAGE
    return arguments


def _chosen(arguments: argparse.Namespace) -> tuple[Options, set[str]]:
    """Give what to measure: all of a kind of which nothing is named."""
    contenders = tuple(each for each in CONTENDERS if each.name in arguments.only) or CONTENDERS
    named = {each.name for each in MEASUREMENTS if each.name in arguments.only}
    chosen = named or {each.name for each in MEASUREMENTS if each.by_default}
    options = Options(commands=arguments.commands, runs=arguments.runs, contenders=contenders)
    if arguments.long:
        chosen.add(LONG.name)
        options = replace(options, long_commands=LONGEST_COMMANDS)
    if arguments.quick:
        options = replace(options, commands=options.commands // 10, runs=1, seconds=3)
    return options, chosen


if __name__ == "__main__":
    configure(Settings(log_level="warning"))
    take_bare_records()  # who receives here shares the cores with who is measured
    # What is killed on purpose makes aiokafka talk.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    main()
