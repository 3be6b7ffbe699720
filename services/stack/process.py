"""A server as a child process that never outlives us."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from services.errors import OpdError

_KEEPER = Path(__file__).with_name("keeper.py")
_LOG_LINES_SHOWN = 12


class PartError(OpdError):
    """{part} failed: which probe, what it said, the part's last log lines, and one thing to try."""

    def __init__(self, part: str, reason: str, *, log_lines: Sequence[str] = (), hint: str) -> None:
        """`reason` is one line; `hint` an imperative sentence."""
        self.part = part
        lines = [f"{part} {reason}", *(f"  {part} | {line}" for line in log_lines), f"try: {hint}"]
        super().__init__("\n".join(lines))


class Process:
    """One child under its keeper (`keeper.py`), its output appended to `log`.

    Attributes:
        pid: the server's process id, not the keeper's; 0 when it never ran.
    """

    def __init__(
        self,
        name: str,
        log: Path,
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_s: float = 15,
        inherited_fds: Sequence[int] = (),
    ) -> None:
        """`inherited_fds` stay open in the keeper, so that a lock held by us lasts until the server has ended too."""
        self.name = name
        self.log = log
        self.pid = 0
        self._stop_signal = stop_signal
        self._grace_s = grace_s
        self._inherited_fds = inherited_fds
        self._keeper: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Start the command; it is not ready yet.

        Raises:
            PartError: the command cannot be executed at all.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._keeper = subprocess.Popen(  # noqa: S603 - every word of the command is ours
                [sys.executable, "-I", "-S", str(_KEEPER), *self._how_to_stop(), *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=None if env is None else {**os.environ, **env},
                pass_fds=self._inherited_fds,
                start_new_session=True,  # Ctrl-C is for us alone: we stop our servers in order
            )
        assert self._keeper.stdout is not None  # noqa: S101 - PIPE was asked for
        pid = self._keeper.stdout.readline()
        if not pid:
            self.stop()
            raise PartError(
                self.name,
                f"cannot be started: {command[0]}",
                log_lines=self.last_log_lines(3),
                hint=f"run {command[0]} by hand",
            )
        self.pid = int(pid)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + n after signal n, as in a shell."""
        return None if self._keeper is None else self._keeper.poll()

    @property
    def running(self) -> bool:
        """Whether it was started and has neither ended nor been stopped."""
        return self._keeper is not None and self._keeper.poll() is None

    def stop(self) -> int | None:
        """Its stop signal, SIGKILL after the grace time, and wait; returns the exit code. Nothing if not started."""
        if self._keeper is None:
            return None
        keeper, self._keeper = self._keeper, None
        with keeper:  # closes both pipes, which tells the keeper to end the server, and waits for it
            pass
        with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            os.killpg(keeper.pid, signal.SIGKILL)
        return keeper.returncode

    def _how_to_stop(self) -> list[str]:
        return [str(int(self._stop_signal)), str(self._grace_s)]

    def kill(self) -> None:
        """SIGKILL, as a crash would end it, and wait."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def last_log_lines(self, count: int = _LOG_LINES_SHOWN) -> list[str]:
        """The last lines it wrote since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace").splitlines()[-count:]

    def wait_until(self, probe: Callable[[], None], what: str, *, timeout_s: float, hint: str) -> None:
        """Return as soon as the probe no longer raises.

        Raises:
            PartError: it ended before that, or the time is over; it no longer runs then.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                probe()
            except Exception as error:  # noqa: BLE001 - whatever keeps the probe from passing is the reason to show
                reason = f"is not ready after {timeout_s:g} s: {what}: {error}"
            else:
                return
            if not self.running:
                reason = f"ended by itself, exit code {self.exit_code}, before {what} passed"
            elif time.monotonic() < deadline:
                time.sleep(0.03)
                continue
            self.stop()
            raise PartError(self.name, reason, log_lines=self.last_log_lines(), hint=hint)
