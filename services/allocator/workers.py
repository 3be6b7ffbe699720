"""Several allocators as one command: processes that share the partitions, and end together."""

import os
import signal
import threading
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import ForkServerProcess
from typing import Any

import structlog

from services import logs
from services.errors import OpdError
from services.settings import Settings

log = structlog.get_logger(__name__)

# An allocator's modules take 2.5 s of CPU to read: one process does so for all workers, and the parent not at all.
_processes = get_context("forkserver")
_ALLOCATOR = "services.allocator.process"


class WorkerError(OpdError):
    """A worker ended by itself; the others were stopped."""


def run_workers(settings: Settings, count: int, first_port: int) -> None:
    """Run so many allocators until SIGTERM or Ctrl-C; each answers at a port of its own, from `first_port` on.

    Raises:
        WorkerError: one of them ended by itself.
    """
    _processes.set_forkserver_preload([_ALLOCATOR])
    workers = [_worker(settings, number, first_port) for number in range(count)]
    stopping = threading.Event()

    def stop(*_: Any) -> None:
        # Once: a second SIGTERM may meet a worker that has done its work and takes no signals any more.
        if stopping.is_set():
            return
        stopping.set()
        for worker in workers:
            if worker.pid is not None and worker.exitcode is None:
                worker.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    for worker in workers:
        worker.start()
        log.info("worker started", worker=worker.name, pid=worker.pid)
    connection.wait([worker.sentinel for worker in workers])
    ended_by_itself = not stopping.is_set()
    stop()
    for worker in workers:
        worker.join()
    failed = [worker.name for worker in workers if worker.exitcode]
    if ended_by_itself or failed:
        raise WorkerError(
            f"{', '.join(failed) or 'a worker'} ended by itself; its log says why, the others were stopped"
        )


def _worker(settings: Settings, number: int, first_port: int) -> ForkServerProcess:
    port = first_port + number if first_port else 0
    own = settings.model_copy(update={"http_port": port})
    return _processes.Process(target=_work, args=(own,), name=f"worker {number + 1} (port {port})")


def _work(settings: Settings) -> None:
    logs.configure(settings)
    from services.allocator.process import run_allocator  # noqa: PLC0415  read already: see above

    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        run_allocator(settings)
    except OpdError as error:
        raise SystemExit(f"opd: {error}") from None


def _end_with_the_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
