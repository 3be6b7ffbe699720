"""Audits partitions in processes beside each other: one processor's worth of computing each, and nothing to share."""

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from services.auditor.audit import Progress
from services.auditor.report import Report
from services.errors import OpdError

Audit = Callable[[int, Progress], Report]


class ProcessError(OpdError):
    """A process that audited a partition ended before it was done."""


def audit_beside(audit: Audit, partitions: Sequence[int], processes: int, progress: Progress) -> list[Report]:
    """Audit partitions, so many at the same time, and give their reports in the partitions' order.

    Args:
        audit: what audits one; it is pickled.
        partitions: their numbers.
        processes: how many at the same time.
        progress: is told how many more commands were audited.

    Raises:
        OpdError: as `audit` raised it, or a process ended by itself. The others are stopped.
    """
    waiting = list(reversed(partitions))
    running: dict[Connection, tuple[int, SpawnProcess]] = {}
    reports: dict[int, Report] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                partition = waiting.pop()
                pipe, process = _start(audit, partition)
                running[pipe] = partition, process
            ready = connection.wait(list(running))
            for pipe in [pipe for pipe in running if pipe in ready]:
                partition, process = running[pipe]
                said = _hear(pipe, partition)
                if isinstance(said, int):
                    progress(said)
                else:
                    reports[partition] = said
                    process.join()
                    del running[pipe]
    finally:
        for pipe, (_, process) in running.items():
            process.kill()
            process.join()
            pipe.close()
    return [reports[partition] for partition in partitions]


def _start(audit: Audit, partition: int) -> tuple[Connection, SpawnProcess]:
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_audit, args=(audit, partition, there), daemon=True)
    process.start()
    there.close()  # so that the end of the process is the end of what is said
    return here, process


def _hear(pipe: Connection, partition: int) -> int | Report:
    try:
        said: int | Report | OpdError = pipe.recv()
    except EOFError:
        text = f"the process that audited partition {partition} was killed\ntry: --processes 1, which takes less memory"
        raise ProcessError(text) from None
    if isinstance(said, OpdError):
        raise said
    return said


def _audit(audit: Audit, partition: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches this process too, but its parent ends it
    with suppress(BrokenPipeError):  # the parent is gone
        try:
            pipe.send(audit(partition, pipe.send))
        except OpdError as error:
            pipe.send(error)
