"""One pytest session for all mutants: the tests are collected once, then a fork of this process makes each mistake.

A fork runs the tests that run the mistake, the quickest first, those that found the last mistakes before them, and ends
with the first that fails. Each of the forks that run at the same time has a Valkey of its own.
"""

import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import IO

import pytest
from _pytest.runner import runtestprotocol

from services.stack import ValkeyServer
from tests import servers
from tests.mutation.lua import make_lua_mistake
from tests.mutation.mutant import Mutant
from tests.mutation.python import make_python_mistake
from tests.mutation.reach import Reach

_MEMORY_BYTES = 4 * 2**30  # a mistake may gather without end
# So many times what a test takes without a mistake: of the processor, however busy that is, and all in all.
_LIMIT_FACTOR = 10.0
_LEAST_BUSY_S, _LEAST_S = 5.0, 120.0
_RECENT = 20
_QUICK_S = 0.3
_FOUND, _SURVIVED, _BROKEN = 1, 0, 3


class Forks:
    """The pytest plugin; up to `jobs` mistakes are tried at the same time.

    Attributes:
        survivors: the mutants that no test found.
        killed: how many were found.
    """

    def __init__(self, mutants: Sequence[Mutant], jobs: int, tell: Callable[[str], None]) -> None:
        self._mutants = mutants
        self._jobs = jobs
        self._tell = tell
        self._items: list[pytest.Item] = []
        self._took_s: dict[str, float] = {}
        self._reached_by: dict[str, list[str]] = {}
        self._recent: list[str] = []
        self.survivors: list[Mutant] = []
        self.killed = 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests once as they are, then with each mistake."""
        with tempfile.TemporaryDirectory(prefix="opd-mutation-") as folder, ExitStack() as stack:
            started = [_server(Path(folder, f"server-{number}"), stack) for number in range(self._jobs)]
            self._items = session.items
            self._run_without_a_mistake(started[0], Path(folder))
            self._items.sort(key=lambda item: self._took_s[item.nodeid])
            gc.freeze()  # so that the forks go on sharing what is there
            self._run_with_each(started, Path(folder))
        return True

    def _run_without_a_mistake(self, server: ValkeyServer, folder: Path) -> None:
        def learn(tell: IO[str]) -> int:
            _begin(server)
            return _learn(self._items, Reach(self._mutants, server, folder / "counting"), tell)

        fork = _Fork(learn)
        status = os.waitstatus_to_exitcode(os.waitpid(fork.pid, 0)[1])
        told = fork.told()
        if status != _SURVIVED:
            raise pytest.UsageError(f"the tests fail without a mistake: {told[-1:]} {status}")
        self._took_s, self._reached_by = json.loads(told[0])

    def _run_with_each(self, started: list[ValkeyServer], folder: Path) -> None:
        waiting = iter(self._mutants)
        free, running = list(range(len(started))), dict[int, tuple[Mutant, _Fork, int]]()
        while True:
            for mutant in waiting:
                slot = free.pop()
                fork = self._try(mutant, started[slot], folder / f"scripts-{slot}")
                running[fork.pid] = mutant, fork, slot
                if not free:
                    break
            if not running:
                return
            pid, wait_status = os.wait()
            if pid in running:
                mutant, fork, slot = running.pop(pid)
                self._note(mutant, fork.told(), os.waitstatus_to_exitcode(wait_status), started[slot])
                free.append(slot)

    def _try(self, mutant: Mutant, server: ValkeyServer, folder: Path) -> "_Fork":
        items = self._in_order(mutant)

        def look(tell: IO[str]) -> int:
            _begin(server)
            try:
                _make(mutant, folder)
            except ImportError as error:
                tell.write(f"0 {error}\n")
                return _FOUND
            return _run(items, self._took_s, tell)

        return _Fork(look)

    def _in_order(self, mutant: Mutant) -> list[pytest.Item]:
        # What no test runs, such as a constant, is made when modules are imported: any may find it.
        reaching = set(self._reached_by.get(mutant.name, self._took_s))
        items = [item for item in self._items if item.nodeid in reaching]
        return sorted(items, key=lambda item: item.nodeid not in self._recent)

    def _note(self, mutant: Mutant, told: list[str], status: int, server: ValkeyServer) -> None:
        if status == _BROKEN:
            raise pytest.UsageError(f"{mutant.name} cannot be made: {told}")
        if status == _SURVIVED:
            self.survivors.append(mutant)
        else:
            self.killed += 1
        found_by = told[-1].partition(" ")[2] if status == _FOUND else ""
        if self._took_s.get(found_by, _QUICK_S) < _QUICK_S:
            self._recent = [found_by, *(nodeid for nodeid in self._recent if nodeid != found_by)][:_RECENT]
        if status < 0:  # the server may be at it still
            server.kill()
            _start(server)
        self._tell(f"{'SURVIVED' if status == _SURVIVED else 'found'}  {mutant.name}  {len(told)} tests, {told[-1:]}")


class _Fork:
    """A process of its own that works, and tells of it; what the work gives is its exit code."""

    def __init__(self, work: Callable[[IO[str]], int]) -> None:
        # A pipe would be full before anybody reads: what a fork tells of thousands of tests is read when it has ended.
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed when it is read
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            status = _BROKEN
            try:
                with self._told as tell:
                    try:
                        status = work(tell)
                    except BaseException as error:  # noqa: BLE001  nothing of the fork may go on in the session
                        tell.write(f"{error!r}\n")
            finally:
                os._exit(status)

    def told(self) -> list[str]:
        """Give the lines that it wrote; it has ended."""
        with self._told:
            self._told.seek(0)
            return self._told.read().splitlines()


class _Running:
    """A server that goes on when a test is done with it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def start(self) -> None:
        """It runs."""

    def stop(self) -> None:
        """It goes on."""


def _begin(server: ValkeyServer) -> None:
    """Let this process take no more than it may, say nothing, and have its tests use this server."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    vars(servers)["redis"] = lambda _folder: _Running(server.url)


def _learn(items: list[pytest.Item], reach: Reach, tell: IO[str]) -> int:
    """Run them all, each with fixtures of its own; tell how long each takes and which reach which mutant."""
    took_s = {}
    for item in items:
        with reach.of(item.nodeid):
            began = perf_counter()
            reports = runtestprotocol(item, log=False, nextitem=None)
            took_s[item.nodeid] = perf_counter() - began
        if any(report.failed for report in reports):
            tell.write(item.nodeid)
            return _FOUND
    tell.write(json.dumps([took_s, reach.end()]))
    return _SURVIVED


def _make(mutant: Mutant, folder: Path) -> None:
    if mutant.file.endswith(".lua"):
        shutil.rmtree(folder, ignore_errors=True)
        make_lua_mistake(mutant, folder)
    else:
        make_python_mistake(mutant)


def _run(items: list[pytest.Item], took_s: dict[str, float], tell: IO[str]) -> int:
    """Run them, up to the first that fails; the alarm ends this process when one hangs."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        limit_s = _LIMIT_FACTOR * took_s[item.nodeid]
        signal.setitimer(signal.ITIMER_PROF, max(_LEAST_BUSY_S, limit_s))
        signal.setitimer(signal.ITIMER_REAL, max(_LEAST_S, limit_s))
        began = perf_counter()
        reports = runtestprotocol(item, log=False, nextitem=following)
        tell.write(f"{perf_counter() - began:.4f} {item.nodeid}\n")
        if any(report.failed for report in reports):
            return _FOUND
    return _SURVIVED


def _server(folder: Path, stack: ExitStack) -> ValkeyServer:
    server = ValkeyServer(folder, settings={"appendonly": "no"})
    _start(server)
    stack.callback(server.kill)
    return server


def _start(server: ValkeyServer) -> None:
    server.start()
    resource.prlimit(server.process.pid, resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
