"""Ports of this machine's loopback."""

import random
import socket
from collections.abc import Collection

import psutil

LOOPBACK = "127.0.0.1"
# Below what systems hand out to outgoing connections: a client that tries to reach a stopped server could otherwise be
# given the server's own port, and hold it.
_RANGE = range(20_000, 32_000)
_given: set[int] = set()  # by this process: whoever asked for one may not listen on it yet


def free_ports(count: int, *, but: Collection[int] = ()) -> list[int]:
    """So many different ports that nobody listens on now, none of them in `but` or given before."""
    free: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if len(free) == count:
            break
        if port not in but and port not in _given and not is_busy(port):
            free.append(port)
    _given.update(free)
    return free


def is_busy(port: int) -> bool:
    """Whether a server could not listen on that port of the loopback now."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((LOOPBACK, port))
        except OSError:
            return True
        return False


def listener(port: int) -> str:
    """Who listens on that port, as far as we may know: `pid 123 (java)` or `a process of another user`."""
    for process in psutil.process_iter():
        try:
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return f"pid {process.pid} ({process.name()})"
        except psutil.Error:
            continue  # it ended meanwhile, or is another user's
    return "a process of another user"
