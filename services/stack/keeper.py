"""Keeps one server alive no longer than its owner; run by path, so that it imports nothing of the project.

`python keeper.py SIGNAL GRACE_S COMMAND…` starts the command, writes its pid to stdout and ends with its exit code.
Stdin is a pipe whose other end only the owner holds: when that closes, on purpose or because the owner died in whatever
way, the command gets the signal, and SIGKILL if it still runs after the grace time.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1


def _die_with_the_keeper() -> None:
    """Linux alone can tie a process to its parent; elsewhere the owner kills the keeper's process group."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_with_the_owner(server: subprocess.Popen[bytes], stop_signal: int, grace_s: float) -> None:
    os.read(0, 1)
    server.send_signal(stop_signal)
    try:
        server.wait(grace_s)
    except subprocess.TimeoutExpired:
        server.kill()


def main() -> None:
    """Run the command until it ends or the owner does."""
    stop_signal, grace_s, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    server = subprocess.Popen(  # noqa: S603 - runs what the owner asks for, that is its purpose
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=_die_with_the_keeper if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads are there yet
    )
    sys.stdout.write(f"{server.pid}\n")
    sys.stdout.flush()
    threading.Thread(target=_end_with_the_owner, args=(server, stop_signal, grace_s), daemon=True).start()
    code = server.wait()
    # The thread still reads stdin: an orderly exit of the interpreter would wait for it.
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
