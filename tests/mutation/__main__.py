"""Mutation testing: what no test would notice if it were wrong.

python -m tests.mutation                   all targets
python -m tests.mutation model lua         some of them
python -m tests.mutation model --only Pool.least_loaded     the mutants whose name has this pattern
python -m tests.mutation lua --sample 200  so many of each target, always the same ones
python -m tests.mutation model --list      their names

A survivor that is not in survivors.toml, or one there that is found now, fails.
"""

import argparse
import os
import random
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.mutation.session import Forks
from tests.mutation.targets import TARGETS

_QUIET = ("-ptests.once", "-pno:cacheprovider", "-pno:logging", "--assert=plain", "--tb=no", "-qq", "--no-summary")
_SURVIVORS = Path(__file__).with_name("survivors.toml")


def main() -> int:
    """Do what the arguments say; 1 where the survivors are not those that are listed."""
    arguments = argparse.ArgumentParser(prog="make mutation", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all if none is named"
    )
    arguments.add_argument("--only", default="", metavar="PATTERN")
    arguments.add_argument("--sample", type=int, metavar="COUNT")
    arguments.add_argument("--new", action="store_true", help="leave out those that are listed, most of the time")
    arguments.add_argument("--jobs", type=int, default=2, metavar="COUNT", help="at the same time; %(default)s")
    arguments.add_argument("--list", action="store_true")
    arguments.add_argument("--verbose", action="store_true", help="tell of each mutant")
    options = arguments.parse_args()
    os.nice(19)
    gone = _listed() - {mutant.name for target in TARGETS.values() for mutant in target.mutants()}
    for mutant in sorted(gone):
        _say(f"listed as a survivor, but not there any more: {mutant}")
    failed = [name for name in options.targets or TARGETS if not _is_as_listed(name, options)]
    return int(bool(failed or gone))


def _is_as_listed(name: str, options: argparse.Namespace) -> bool:
    left_out = _listed() if options.new else ()
    mutants = [
        mutant
        for mutant in TARGETS[name].mutants()
        if re.search(options.only, mutant.name) and mutant.name not in left_out
    ]
    if options.sample is not None and options.sample < len(mutants):
        mutants = random.Random(0).sample(mutants, options.sample)
    if options.list:
        _say("\n".join(mutant.name for mutant in mutants))
    if options.list or not mutants:
        return True
    forks = Forks(mutants, options.jobs, _say if options.verbose else lambda _: None)
    code = pytest.main([*_QUIET, *TARGETS[name].tests], plugins=[forks])
    if code != pytest.ExitCode.OK:
        _say(f"{name}: pytest ended with {code!r}")
        return False
    there = {mutant.name for mutant in mutants}
    survived = {mutant.name for mutant in forks.survivors}
    listed = _listed() & there
    new, found = sorted(survived - listed), sorted(listed - survived)
    for mutant in new:
        _say(f"no test finds: {mutant}")
    for mutant in found:
        _say(f"listed as a survivor, but found: {mutant}")
    counts = f"{forks.killed} found, {len(survived & listed)} survived as listed, {len(new)} new"
    _say(f"{name}: {len(mutants)} mutants, {counts}")
    return not new and not found


def _listed() -> set[str]:
    groups = tomllib.loads(_SURVIVORS.read_text(encoding="utf-8")).get("survivors", [])
    return {mutant for group in groups for mutant in group["mutants"]}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
