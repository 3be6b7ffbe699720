"""Chooses what is read out of more than anybody could read."""

from collections import deque

from services.demo.words import Line

_LINES_PER_S = 8.0
_AT_ONCE = 20
_KEPT = 200


class Ticker:
    """Lets through so many lines a second: alarms first, then the kinds not seen for longest; all where few come.

    Attributes:
        shown: the lines let through, the last one last.
    """

    def __init__(self, now_s: float) -> None:
        """`now_s` is any clock that only goes on."""
        self.shown: deque[Line] = deque(maxlen=_KEPT)
        self._coming: list[Line] = []
        self._seen: dict[str, int] = {}
        self._turn = 0
        self._allowed = 1.0
        self._then_s = now_s

    def add(self, line: Line) -> None:
        """Take a line for the next turn."""
        self._coming.append(line)

    def turn(self, now_s: float) -> None:
        """Show what may be shown of the lines that came since the last turn, in their order; the rest is dropped."""
        self._turn += 1
        self._allowed = min(_AT_ONCE, self._allowed + (now_s - self._then_s) * _LINES_PER_S)
        self._then_s = now_s
        chosen: list[int] = []
        waiting = dict(enumerate(self._coming))
        while waiting and len(chosen) < int(self._allowed):
            place = min(waiting, key=lambda place: self._importance(waiting[place]))
            self._seen[waiting.pop(place).kind] = self._turn
            chosen.append(place)
        self.shown.extend(self._coming[place] for place in sorted(chosen))
        self._allowed -= len(chosen)
        self._coming.clear()

    def _importance(self, line: Line) -> tuple[bool, int]:
        return not line.is_alarm, self._seen.get(line.kind, 0)
