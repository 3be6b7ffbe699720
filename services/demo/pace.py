"""How fast it goes: decisions a second, and how long an answer takes, in real time."""

from collections import Counter, deque

from services.simulator.play import Happening, What, percentiles

_WINDOW_S = 2.0
_ANSWERS = 2000


class Pace:
    """Counts commands, events and decisions as they come.

    Attributes:
        commands: sent.
        decided: commands that were answered, by events or by a dead letter.
        events: by type.
    """

    def __init__(self, now_s: float) -> None:
        """`now_s` is any clock that only goes on."""
        self.commands = 0
        self.decided = 0
        self.events: Counter[str] = Counter()
        self._answered_ms: deque[float] = deque(maxlen=_ANSWERS)
        self._marks = deque([(now_s, 0)])

    def take(self, happening: Happening) -> None:
        """Take in the next happening."""
        if happening.what is What.COMMAND:
            self.commands += 1
        elif happening.what is What.EVENT:
            self.events[happening.type] += 1
        if happening.answered_ms is not None:
            self.decided += 1
            self._answered_ms.append(happening.answered_ms)

    def decisions_per_s(self, now_s: float) -> float:
        """Give the rate over the last two seconds, or since the first call if that is later."""
        self._marks.append((now_s, self.decided))
        while len(self._marks) > 2 and self._marks[1][0] <= now_s - _WINDOW_S:
            self._marks.popleft()
        then_s, decided = self._marks[0]
        return (self.decided - decided) / (now_s - then_s) if now_s > then_s else 0.0

    def answer_ms(self, percentile: int) -> float:
        """Give the 50th, 90th or 99th percentile of the last answers."""
        return percentiles(self._answered_ms)[percentile]
