"""One pytest session for all mutants: the tests are collected once, then a fork of this process makes each mistake.

A fork runs the quickest tests first, those that found the last mistakes before them, and ends with the first that
fails. Each of the forks that run at the same time has a Valkey of its own.
"""

import gc
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from services.stack import ValkeyServer
from tests.mutation.lua import make_lua_mistake
from tests.mutation.mutant import Mutant
from tests.mutation.python import make_python_mistake

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
        self._recent: list[str] = []
        self.survivors: list[Mutant] = []
        self.killed = 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests once as they are, then with each mistake."""
        with tempfile.TemporaryDirectory(prefix="opd-mutation-") as folder, ExitStack() as stack:
            servers = [_server(Path(folder, f"server-{number}"), stack) for number in range(self._jobs)]
            self._items = session.items
            self._run_without_a_mistake(servers[0], Path(folder))
            self._items.sort(key=lambda item: self._took_s[item.nodeid])
            gc.freeze()  # so that the forks go on sharing what is there
            self._run_with_each(servers, Path(folder))
        return True

    def _run_without_a_mistake(self, server: ValkeyServer, folder: Path) -> None:
        fork = _Fork(None, server, folder / "none", self._items, self._took_s)
        told, status = fork.wait()
        if status != _SURVIVED:
            raise pytest.UsageError(f"the tests fail without a mistake: {told[-1:]} {status}")
        for line in told:
            took_s, _, nodeid = line.partition(" ")
            self._took_s[nodeid] = float(took_s)

    def _run_with_each(self, servers: list[ValkeyServer], folder: Path) -> None:
        waiting = iter(self._mutants)
        free, running = list(range(len(servers))), dict[int, tuple[_Fork, int]]()
        while True:
            for mutant in waiting:
                slot = free.pop()
                fork = _Fork(mutant, servers[slot], folder / f"scripts-{slot}", self._in_order(), self._took_s)
                running[fork.pid] = fork, slot
                if not free:
                    break
            if not running:
                return
            pid, wait_status = os.wait()
            if pid in running:
                fork, slot = running.pop(pid)
                self._note(fork, wait_status, servers[slot])
                free.append(slot)

    def _in_order(self) -> list[pytest.Item]:
        recent = [item for item in self._items if item.nodeid in self._recent]
        return [*recent, *(item for item in self._items if item.nodeid not in self._recent)]

    def _note(self, fork: "_Fork", wait_status: int, server: ValkeyServer) -> None:
        told = fork.told()
        assert fork.mutant is not None
        status = os.waitstatus_to_exitcode(wait_status)
        if status == _BROKEN:
            raise pytest.UsageError(f"{fork.mutant.name} cannot be made: {told}")
        if status == _SURVIVED:
            self.survivors.append(fork.mutant)
        else:
            self.killed += 1
        found_by = told[-1].partition(" ")[2] if status == _FOUND else ""
        if self._took_s.get(found_by, _QUICK_S) < _QUICK_S:
            self._recent = [found_by, *(nodeid for nodeid in self._recent if nodeid != found_by)][:_RECENT]
        if status < 0:  # the server may be at it still
            server.kill()
            _start(server)
        self._tell(f"{'SURVIVED' if status == _SURVIVED else 'found'}  {fork.mutant.name}  {told[-1:]}")


class _Fork:
    """One mutant, or none, in a process of its own."""

    def __init__(
        self,
        mutant: Mutant | None,
        server: ValkeyServer,
        folder: Path,
        items: list[pytest.Item],
        took_s: dict[str, float],
    ) -> None:
        self.mutant = mutant
        # A pipe would be full before anybody reads: what a fork tells of thousands of tests is read when it has ended.
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed when it is read
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            status = _BROKEN
            try:
                with self._told as tell:
                    try:
                        _make(mutant, server, folder)
                        status = _run(items, took_s, tell)
                    except ImportError as error:
                        tell.write(f"0 {error}\n")
                        status = _FOUND
                    except BaseException as error:  # noqa: BLE001  nothing of the fork may go on in the session
                        tell.write(f"{error!r}\n")
            finally:
                os._exit(status)

    def told(self) -> list[str]:
        """Give the lines that it wrote; it has ended."""
        with self._told:
            self._told.seek(0)
            return self._told.read().splitlines()

    def wait(self) -> tuple[list[str], int]:
        """Wait for its end; give what it wrote, and its exit code."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.told(), status


def _make(mutant: Mutant | None, server: ValkeyServer, folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)

    def running(*_: object) -> Iterator[ValkeyServer]:
        yield server

    conftest: Any = sys.modules["tests.conftest"]
    conftest._valkey = running
    if mutant is None:
        return
    if mutant.file.endswith(".lua"):
        shutil.rmtree(folder, ignore_errors=True)
        make_lua_mistake(mutant, folder)
    else:
        make_python_mistake(mutant)


def _run(items: list[pytest.Item], took_s: dict[str, float], tell: Any) -> int:
    """Run them, up to the first that fails; the alarm ends this process when one hangs."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        limit_s = _LIMIT_FACTOR * took_s.get(item.nodeid, 1e3)
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
