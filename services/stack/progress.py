"""How far a start is, on stderr: a live line with the time gone by on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

_PLAIN_LINES_EVERY_S = 5


class Progress:
    """Tells of each part that it is being started, what it waits for, and that it is ready after so long."""

    def __init__(self, *, quiet: bool = False) -> None:
        """`quiet` tells nothing."""
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    @contextmanager
    def part(self, name: str) -> Iterator[Callable[[str], None]]:
        """Around the start of one part; what it yields takes the news on the way."""
        started = time.monotonic()
        with self._live(name) if self._console.is_terminal else self._plain(name) as say:
            yield say
        self._console.print(f"{name}: ready after {time.monotonic() - started:.1f} s")

    @contextmanager
    def _live(self, name: str) -> Iterator[Callable[[str], None]]:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Bars(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(f"{name}: starting", total=None)
            yield lambda text: bars.update(task, description=f"{name}: {text}")

    @contextmanager
    def _plain(self, name: str) -> Iterator[Callable[[str], None]]:
        last = time.monotonic()

        def say(text: str) -> None:
            nonlocal last
            if time.monotonic() - last > _PLAIN_LINES_EVERY_S:
                last = time.monotonic()
                self._console.print(f"{name}: {text}")

        yield say
