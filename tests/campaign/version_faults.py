"""What may befall a group when another version of the allocator joins it."""

import time
from pathlib import Path
from random import Random

from tests.campaign.fault import Landed
from tests.campaign.system import Broken, System
from tests.campaign.versions import former_version, version_of_another_layout
from tests.integration.running import RunningAllocator


def roll_versions(system: System, _rng: Random) -> Landed:
    """Each allocator gives way to one of the former version, and that one to this version again."""
    former = former_version(system.folder / "former")
    at = time.monotonic()
    _roll(system, former.root)
    _roll(system, None)
    return Landed(at, time.monotonic(), f"{former.name}, one by one, and back")


def let_another_layout_join(system: System, _rng: Random) -> Landed:
    """An allocator joins that keeps its state in another layout: it must refuse, and the others go on."""
    other = version_of_another_layout(system.folder / "another-layout")
    at = time.monotonic()
    _refused(system, other.root, system.redis.proxied_url)
    return Landed(at, time.monotonic(), "it ended, and said why")


def roll_layouts(system: System, _rng: Random) -> Landed:
    """Each gives way to one of another layout, which has a Redis of its own, and that one to this version again."""
    other = version_of_another_layout(system.folder / "another-layout")
    theirs = system.one_redis.another()
    at = time.monotonic()
    _roll(system, other.root, theirs.url)
    meanwhile = sum(system.redis.applied())
    _refused(system, None, theirs.url)
    system.let_load_go_on(300)
    if sum(system.redis.applied()) != meanwhile:
        raise Broken("somebody still decides in the Redis that everybody left")
    _roll(system, None)
    decided = sum(system.redis.applied()) - meanwhile
    return Landed(at, time.monotonic(), f"one by one to a Redis of their own and back; {decided} commands behind then")


def _roll(system: System, root: Path | None, redis_url: str | None = None) -> None:
    for allocator in list(system.allocators):
        system.stop_allocator(allocator)
        system.start_allocator(root=root, redis_url=redis_url)
        system.wait_until_shared()


def _refused(system: System, root: Path | None, redis_url: str) -> None:
    """Start an allocator that must end by itself, because of the layout that it finds."""
    settings = system.settings_of_allocators(redis_url)
    with RunningAllocator(settings, wait=False, root=root) as refusing:
        system.until(lambda: refusing.process.poll() is not None, "the allocator of another layout ends")
        if refusing.process.returncode != 1 or "in another layout" not in refusing.log:
            raise Broken(f"status {refusing.process.returncode} of an allocator of another layout:\n{refusing.log}")
