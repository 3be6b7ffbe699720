"""Shows the day as it goes: a live picture on a terminal, a plain line now and then elsewhere."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live

from services.demo.board import Board
from services.demo.pace import Pace
from services.demo.ticker import Ticker
from services.demo.view import Moment, clock, draw
from services.demo.words import in_words
from services.simulator.play import Happening

_PICTURES_PER_S = 8
_PLAIN_LINE_EVERY_S = 2.0
_LAST_PICTURE_S = 1.0


class Watch:
    """Takes the happenings in, and can be drawn at any time by another thread.

    Attributes:
        board: the day so far.
    """

    def __init__(self, date: str, title: str) -> None:
        now_s = time.monotonic()
        self.board = Board(date)
        self._title = title
        self._pace, self._ticker = Pace(now_s), Ticker(now_s)
        self._lock = threading.Lock()

    def take(self, happening: Happening) -> None:
        """Take in the next happening of the day."""
        with self._lock:
            self.board.take(happening)
            self._pace.take(happening)
            line = in_words(happening, self.board)
            if line is not None:
                self._ticker.add(line)

    def picture(self, width: int, height: int) -> Group:
        """Draw the present state."""
        with self._lock:
            now_s = time.monotonic()
            self._ticker.turn(now_s)
            rate = self._pace.decisions_per_s(now_s)
            moment = Moment(self._title, self.board, self._pace, list(self._ticker.shown), rate)
            return Group(*draw(moment, width, height))

    def line(self) -> str:
        """Say the present state in one line."""
        pace, departments = self._pace, self.board.departments.values()
        tokens = [token for department in departments for token in department.tokens.values()]
        return (
            f"{clock(self.board.clock_ms)}  {pace.decided:,} commands decided "
            f"({pace.decisions_per_s(time.monotonic()):,.0f}/s, half within {pace.answer_ms(50):.0f} ms), "
            f"{sum(token.is_seated for token in tokens):,} seated, "
            f"{sum(department.waiting for department in departments):,} waiting, "
            f"{sum(department.here for department in departments):,} in the hall"
        )


@contextmanager
def watching(console: Console, date: str, title: str, *, live: bool) -> Iterator[Watch]:
    """Give a watch whose board is shown on the console as long as this lasts."""
    watch = Watch(date, title)
    show = _live if live and console.is_terminal and not console.is_dumb_terminal else _plain
    with show(console, watch):
        yield watch


@contextmanager
def _live(console: Console, watch: Watch) -> Iterator[None]:
    def picture() -> Group:
        return watch.picture(*console.size)

    # The pictures are drawn in a thread of their own, so many a second: the day never waits for them.
    with Live(get_renderable=picture, console=console, screen=True, refresh_per_second=_PICTURES_PER_S):
        yield
        time.sleep(_LAST_PICTURE_S)  # an evening to look at


@contextmanager
def _plain(console: Console, watch: Watch) -> Iterator[None]:
    over = threading.Event()

    def say() -> None:
        while not over.wait(_PLAIN_LINE_EVERY_S):
            console.print(watch.line(), soft_wrap=True)

    thread = threading.Thread(target=say, name="opd-demo")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    console.print(watch.line(), soft_wrap=True)
