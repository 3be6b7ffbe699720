"""A pool as the events tell it: who sits, who waits. Kept apart from `allocation_core`, so that a fault there shows."""

from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass, field

from schemas.words import Source, Status
from services.auditor.records import Record
from services.auditor.report import RecordName

ACTIVE = frozenset({Status.WAITLISTED, Status.CONFIRMED, Status.CHECKED_IN, Status.CALLED})
TAKES_A_SEAT = frozenset({Status.CONFIRMED, Status.CHECKED_IN, Status.CALLED, Status.COMPLETED})


@dataclass(slots=True, eq=False)
class Token:
    """One patient's place in a pool.

    Attributes:
        arrival: running number of the department's accepted requests.
        pin: the only doctor that will do.
        present: checked in while waiting (R13).
        said: the record of the last event about it.
        event_id: that event.
    """

    token_id: str
    token_no: int
    patient_id: str
    pool: "Pool"
    arrival: int
    source: Source
    status: Status
    doctor_id: str | None
    pin: str | None
    said: Record
    event_id: str
    present: bool = False

    @property
    def rank(self) -> tuple[int, int]:
        """Its place in any order by class, then arrival (R8)."""
        return self.source.priority, self.arrival

    @property
    def record(self) -> RecordName:
        """The name of the last record about it."""
        return RecordName.of(self.said, self.event_id)


_Waiting = tuple[int, int, Token]


@dataclass(slots=True, eq=False)
class Pool:
    """All sessions of one department, date and slot.

    Attributes:
        schedule: the doctors who work it, with their capacity by schedule.
        overrides: capacities set for this date.
        unavailable: doctors who are away.
        taken: seats taken, by doctor.
        active: the active token of each patient.
        excused: R16 leaves old pools alone, so one may have a token waiting that could sit, until R9 comes by.
    """

    date: str
    slot: str
    schedule: dict[str, int]
    closed: bool = False
    excused: bool = False
    overrides: dict[str, int] = field(default_factory=dict)
    unavailable: set[str] = field(default_factory=set)
    taken: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    active: dict[str, Token] = field(default_factory=dict)
    tokens: list[Token] = field(default_factory=list)
    _waitlist: list[_Waiting] = field(default_factory=list)
    _waitlist_by_pin: dict[str | None, list[_Waiting]] = field(default_factory=dict)

    def capacity(self, doctor_id: str) -> int:
        """Seats of a doctor's session; none where they do not work."""
        scheduled = self.schedule.get(doctor_id)
        return 0 if scheduled is None else self.overrides.get(doctor_id, scheduled)

    def is_free(self, doctor_id: str) -> bool:
        """Whether the doctor is eligible, pins aside (R5)."""
        return doctor_id not in self.unavailable and self.taken[doctor_id] < self.capacity(doctor_id)

    def sit_or_wait(self, token: Token) -> None:
        """Count a token where its status puts it."""
        if token.status is Status.WAITLISTED:
            waiting = (*token.rank, token)
            insort(self._waitlist, waiting)
            insort(self._waitlist_by_pin.setdefault(token.pin, []), waiting)
        elif token.status in TAKES_A_SEAT and token.doctor_id is not None:
            self.taken[token.doctor_id] += 1

    def leave(self, token: Token) -> None:
        """Undo `sit_or_wait`, before the token changes."""
        if token.status is Status.WAITLISTED:
            for waitlist in (self._waitlist, self._waitlist_by_pin[token.pin]):
                del waitlist[bisect_left(waitlist, token.rank)]
        elif token.status in TAKES_A_SEAT and token.doctor_id is not None:
            self.taken[token.doctor_id] -= 1

    def position(self, token: Token) -> int:
        """Give a waiting token's place in the waitlist, 1 = next (R8)."""
        return bisect_left(self._waitlist, token.rank) + 1

    def first_for(self, doctor_id: str) -> Token | None:
        """Give the first token waiting that this doctor could take."""
        heads = [waitlist[0] for pin in (None, doctor_id) if (waitlist := self._waitlist_by_pin.get(pin))]
        return min(heads)[2] if heads else None

    def stranded(self) -> tuple[Token, str] | None:
        """Give a token that waits though a doctor is eligible, and the doctor; None if there is none (R10)."""
        if not self._waitlist:
            return None
        for doctor_id in self.schedule:
            if self.is_free(doctor_id) and (token := self.first_for(doctor_id)):
                return token, doctor_id
        return None
