"""All departments of a simulated day, in steps of virtual time: who acts, then what they learn."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from services.simulator.day import MINUTE_MS, Day
from services.simulator.department import Department, Posting

STEP_MS = MINUTE_MS


class Step(NamedTuple):
    """What is sent together; its answers are awaited before the next step.

    Attributes:
        at_ms: when, in milliseconds since the day's midnight.
        until_ms: when the answers are learned.
    """

    at_ms: int
    until_ms: int
    postings: list[Posting]


class World:
    """A day, played against whatever answers."""

    def __init__(self, day: Day) -> None:
        self._departments = {(day.facility_id, plan.department_id): Department(day, plan) for plan in day.plan()}

    @property
    def waits_ms(self) -> list[int]:
        """How long each patient called had waited since they checked in, in virtual time."""
        return sorted(wait_ms for department in self._departments.values() for wait_ms in department.waits_ms)

    def next_step(self) -> Step | None:
        """Let time go on until something is sent; None when the day is over."""
        while (next_ms := self._next_ms()) is not None:
            at_ms = next_ms - next_ms % STEP_MS
            until_ms = at_ms + STEP_MS
            postings = [posting for department in self._departments.values() for posting in department.act(until_ms)]
            if postings:
                return Step(at_ms, until_ms, sorted(postings, key=lambda posting: posting.due_ms))
        return None

    def learn(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take in events, those of one department in the topic's order; others than ours are passed over."""
        for event in events:
            data = event["data"]
            department = self._departments.get((data["facility_id"], data["department_id"]))
            if department is not None:
                department.learn(event)

    def _next_ms(self) -> int | None:
        times_ms = [department.next_ms for department in self._departments.values()]
        return min((time_ms for time_ms in times_ms if time_ms is not None), default=None)
