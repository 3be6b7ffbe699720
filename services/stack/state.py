"""The state folder: one owner at a time, and files that are there whole or not at all."""

import fcntl
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from services.errors import OpdError
from services.stack.ports import free_ports, is_busy

DEFAULT_FOLDER = Path(".opd")
_LEFTOVERS_TIMEOUT_S = 30


def own(folder: Path) -> int:
    """Lock the folder for this process and the servers that inherit the descriptor returned; it is free when all ended.

    Raises:
        OpdError: another process owns it; names the pid.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise OpdError(f"the state folder {folder} cannot be used: {error}\ntry: another --state-dir") from error
    deadline = time.monotonic() + _LEFTOVERS_TIMEOUT_S
    while not _locked(fd):
        owner = os.pread(fd, 32, 0).decode().strip()
        if _lives(owner) or time.monotonic() > deadline:
            os.close(fd)
            raise OpdError(
                f"{folder} is in use by pid {owner}: a stack runs there already\n"
                "try: that one, it is described in its stack.json; or stop it first; or take another --state-dir"
            )
        time.sleep(0.1)  # its owner was killed, and the servers are just ending
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def replace_file(file: Path, text: str) -> None:
    """Write it so that nobody ever reads half of it."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(text)
    unfinished.replace(file)


def kept_ports(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """A free port for each name: the one it had the last time in this folder, if that is free still."""
    file = folder / "ports.json"
    known: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    for name, fresh in zip(names, free_ports(len(names), but=known.values()), strict=True):
        if name not in known or is_busy(known[name]):
            known[name] = fresh
    replace_file(file, json.dumps(known))
    return {name: known[name] for name in names}


def keep_last_logs(folder: Path) -> None:
    """Put the logs of the run before aside, and those of the run before that away."""
    for log in folder.glob("*.log"):
        log.replace(log.with_suffix(".log.1"))
