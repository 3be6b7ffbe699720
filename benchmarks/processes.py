"""What a process and those that it started have used: processor time and memory."""

from collections.abc import Mapping

import psutil


def cpu_s(roots: Mapping[str, int]) -> dict[str, float]:
    """Give the processor time of each tree so far, in seconds; children that have ended count too."""
    return {name: _tree_cpu_s(pid) for name, pid in roots.items()}


def rss_mb(pid: int) -> float:
    """Give the resident memory of a tree, in megabytes."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(_rss(process) for process in processes) / 1e6


def _tree_cpu_s(pid: int) -> float:
    root = psutil.Process(pid)
    times = root.cpu_times()
    used = times.user + times.system + times.children_user + times.children_system
    for child in root.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used += times.user + times.system
    return used


def _rss(process: psutil.Process) -> int:
    try:
        rss: int = process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0
    return rss
