"""What one department's day was like, kept from its events: what estimates are made of.

The gateway has the same from PostgreSQL; a test holds the two together.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from allocation_core.estimate import LATE_S, LONGEST_S, Experience, Moments, Visit
from schemas.words import Source, Status
from services.simulator.day import slot_starts_ms

_MOMENTS: Final = {
    "TokenCheckedIn": "checked_in_s",
    "TokenCalled": "called_s",
    "TokenCompleted": "ended_s",
    "TokenCancelled": "ended_s",
    "TokenNoShow": "ended_s",
    "TokenExpired": "ended_s",
}


@dataclass
class Entry:
    """One token, as it stands now.

    Attributes:
        moments: `checked_in_s`, `called_s` and `ended_s`, as far as they were.
    """

    token_no: int
    slot: str
    begins_s: float
    source: Source
    status: Status
    doctor_id: str | None
    moments: dict[str, float] = field(default_factory=dict)

    @property
    def visit(self) -> Visit:
        """As an estimate looks at it."""
        return Visit(self.token_no, self.begins_s, self.source, self.status, **self.moments)


class Diary:
    """One department's date.

    Attributes:
        entries: by token_id.
    """

    def __init__(self, date: str, midnight_s: float) -> None:
        """`midnight_s` is when the date begins; events of other dates are passed over."""
        self.entries: dict[str, Entry] = {}
        self._date, self._midnight_s = date, midnight_s

    def take(self, kind: str, data: Mapping[str, Any], at_s: float) -> None:
        """Take an event in."""
        if "token_no" not in data or data["date"] != self._date:
            return
        source, status, doctor_id = Source(data["source"]), Status(data["status"]), data["doctor_id"]
        entry = self.entries.get(data["token_id"])
        if entry is None:
            slot = data["slot"]
            begins_s = self._midnight_s + slot_starts_ms(slot) / 1000
            self.entries[data["token_id"]] = entry = Entry(data["token_no"], slot, begins_s, source, status, doctor_id)
        entry.source, entry.status, entry.doctor_id = source, status, doctor_id
        if kind in _MOMENTS:
            entry.moments.setdefault(_MOMENTS[kind], at_s)

    def visits(self, doctor_id: str, *, but: str) -> list[Visit]:
        """Give a doctor's visits but one."""
        mine = [entry for token_id, entry in self.entries.items() if entry.doctor_id == doctor_id and token_id != but]
        return [entry.visit for entry in mine]

    def experience(self) -> Experience:
        """Give what the day has been like so far."""
        called = self._called()
        late = [delay_s for visits in called.values() if (delay_s := _delay_s(visits)) > LATE_S]
        seated = [entry for entry in self.entries.values() if entry.doctor_id is not None]
        came = [entry.visit for entry in seated if "checked_in_s" in entry.moments]
        away = [
            entry
            for entry in seated
            if "checked_in_s" not in entry.moments and entry.status in {Status.NO_SHOW, Status.CANCELLED}
        ]
        return Experience(
            paces={doctor_id: _moments(_intervals_s(visits)) for doctor_id, visits in called.items()},
            doctor_days=len(called),
            late=_moments(late),
            arrivals=_moments((visit.checked_in_s or 0) - visit.begins_s for visit in came),
            came=len(came),
            expected=len(came) + len(away),
            asked=Counter(entry.source for entry in self.entries.values()),
        )

    def _called(self) -> dict[str, list[Visit]]:
        """Give each doctor's visits in the order of their calls."""
        called: defaultdict[str, list[Visit]] = defaultdict(list)
        for entry in self.entries.values():
            if entry.doctor_id is not None and "called_s" in entry.moments:
                called[entry.doctor_id].append(entry.visit)
        return {
            doctor_id: sorted(visits, key=lambda visit: visit.called_s or 0) for doctor_id, visits in called.items()
        }


def _moments(durations_s: Iterable[float]) -> Moments:
    listed = list(durations_s)
    return Moments(len(listed), sum(listed), sum(duration_s * duration_s for duration_s in listed))


def _intervals_s(visits: list[Visit]) -> Iterator[float]:
    for one, following in pairwise(visits):
        assert one.called_s is not None  # noqa: S101  these were called
        assert following.called_s is not None  # noqa: S101
        there_s = max(following.begins_s, following.checked_in_s or following.called_s)
        if one.ended_s is not None and there_s <= one.ended_s:
            yield min(following.called_s - one.called_s, LONGEST_S)


def _delay_s(visits: list[Visit]) -> float:
    """How long after the first patient was there the first one was called."""
    first = visits[0]
    there = [visit.checked_in_s or 0 for visit in visits if visit.begins_s == first.begins_s]
    return (first.called_s or 0) - max(first.begins_s, min(there))
