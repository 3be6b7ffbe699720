"""What may befall allocators."""

import signal
import time
from collections.abc import Callable
from random import Random

import psutil

from tests.campaign.fault import Landed
from tests.campaign.system import RECOVERED_WITHIN_S, System


def kill_allocator(system: System, _rng: Random) -> Landed:
    """SIGKILL: the group learns of it when the session times out."""
    victim = system.an_owner()
    owned = sorted(victim.partitions)
    at = time.monotonic()
    victim.kill()
    proof = f"partitions {', '.join(owned)}; status {victim.process.returncode}"
    system.forget(victim)
    return Landed(at, at, proof)


def stall_allocator(system: System, _rng: Random) -> Landed:
    """SIGSTOP until the others decide in its stead, then SIGCONT: it wakes up in the middle of its batch."""
    return _stall(system, lambda: system.wait_until_answered(time.monotonic(), within_s=RECOVERED_WITHIN_S))


def stall_allocator_for_a_moment_too_long(system: System, _rng: Random) -> Landed:
    """SIGSTOP until the others have its partitions, then SIGCONT: its return takes them away before they decide."""
    return _stall(system, lambda: None)


def _stall(system: System, wait: Callable[[], object]) -> Landed:
    victim = system.an_owner()
    owned = sorted(victim.partitions)
    others = [allocator for allocator in system.allocators if allocator is not victim]
    at = time.monotonic()
    victim.process.send_signal(signal.SIGSTOP)
    system.until(lambda: psutil.Process(victim.process.pid).status() == psutil.STATUS_STOPPED, "it stands still")
    system.wait_until_shared(others)
    wait()
    stalled_s = time.monotonic() - at
    victim.process.send_signal(signal.SIGCONT)
    return Landed(at, at, f"partitions {', '.join(owned)}; stood still for {stalled_s:.1f} s")


def terminate_allocator(system: System, _rng: Random) -> Landed:
    """SIGTERM: the batch in flight is finished and the partitions are handed over."""
    victim = system.an_owner()
    owned = sorted(victim.partitions)
    at = time.monotonic()
    system.stop_allocator(victim)
    return Landed(at, at, f"partitions {', '.join(owned)}; ended well after {time.monotonic() - at:.1f} s")


def scale(system: System, _rng: Random) -> Landed:
    """One allocator, then four, then two."""
    at = time.monotonic()
    for count in (1, 4, 2):
        system.restore(count)
        system.let_load_go_on(100)
    return Landed(at, time.monotonic(), "1, 4, then 2 allocators had all partitions")
