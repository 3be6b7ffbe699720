"""Simulated schedules at the command line.

python -m tests.faults 17               plays the schedule of seed 17 and tells its story
python -m tests.faults 17 "no fence"    with that mistake planted
python -m tests.faults 0:100000         plays many, and tells what was reached and what failed
python -m tests.faults 0:1000 redis     plays them on a real Redis too, which must tell the same stories
python -m tests.faults planted          searches anew for the seeds that show the planted mistakes
"""

import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis

from services.stack import ValkeyServer
from tests.faults.planted import PLANTED, mistaken
from tests.faults.real_redis import RealRedis
from tests.faults.schedule import Outcome, play
from tests.faults.search import first_seed, keep_seeds
from tests.faults.world import PARTITIONS

STORY_LEAVES_OUT = ("check: done", "  end of ", "  read ")


def main(arguments: list[str]) -> int:
    """Do what the arguments say; 1 where something failed."""
    if not arguments:
        sys.exit(__doc__)
    if arguments[0] == "planted":
        return _search()
    first, _, last = arguments[0].partition(":")
    if last and arguments[1:] == ["redis"]:
        return _play_on_a_real_one(int(first), int(last))
    return _play_many(int(first), int(last)) if last else _tell(int(first), arguments[1:])


def _tell(seed: int, names: list[str]) -> int:
    planted = next((one for one in PLANTED if names and one.name.startswith(names[0])), None)
    outcome = play(seed, planted)
    for line in outcome.story:
        if not any(word in line for word in STORY_LEAVES_OUT):
            _say(line)
    _say(f"seed {seed}: {len(outcome.breaches)} breaches")
    return int(bool(outcome.breaches))


def _play_many(first: int, last: int) -> int:
    situations, failed, began = Counter[str](), 0, time.monotonic()
    with ProcessPoolExecutor() as pool:
        for number, outcome in enumerate(pool.map(_without_story, range(first, last), chunksize=25), start=1):
            situations += outcome.situations
            if outcome.breaches:
                failed += 1
                _say(f"seed {outcome.seed}: {outcome.breaches[0]}")
            if number % 1000 == 0:
                _say(f"{number} schedules, {number / (time.monotonic() - began):.0f} a second, {failed} failed")
    for name, reached in situations.most_common():
        _say(f"{reached:8}  {name}")
    _say(f"{last - first} schedules, {(last - first) / (time.monotonic() - began):.0f} a second, {failed} failed")
    return int(bool(failed))


def _play_on_a_real_one(first: int, last: int) -> int:
    failed = 0
    with TemporaryDirectory() as folder:
        server = ValkeyServer(Path(folder))
        server.start()
        try:
            with Redis.from_url(server.url) as redis:
                for seed in range(first, last):
                    outcome = play(seed, redis=RealRedis(redis, PARTITIONS))
                    if outcome.breaches or outcome != play(seed):
                        failed += 1
                        _say(f"seed {seed}: {next(iter(outcome.breaches), 'another story than on the double')}")
        finally:
            server.stop()
    _say(f"{last - first} schedules on a real Redis, {failed} failed")
    return int(bool(failed))


def _without_story(seed: int) -> Outcome:
    return play(seed)._replace(story=[])


def _search() -> int:
    seeds = {}
    for planted in PLANTED:
        mistaken(planted)
    with ProcessPoolExecutor() as pool:
        for planted, seed in zip(PLANTED, pool.map(first_seed, range(len(PLANTED))), strict=True):
            _say(f"{'not found' if seed is None else seed:>9}  {planted.name}")
            seeds[planted.name] = seed
    keep_seeds(seeds)
    return int(None in seeds.values())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
