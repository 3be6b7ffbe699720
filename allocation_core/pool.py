"""What a department's rules work on: tokens, the lines that they stand in, sessions, and the pool of a slot.

Here stands who is first, who is least loaded and who is moved; what is done about it stands in `model`.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator

from allocation_core import calendar
from schemas.commands import RequestTokenData, ScheduleEntry
from schemas.words import Source, Status, Weekday

Rank = tuple[int, ...]

_TAKES_A_SEAT = frozenset({Status.CONFIRMED, Status.CHECKED_IN, Status.CALLED, Status.COMPLETED})
_ACTIVE = _TAKES_A_SEAT - {Status.COMPLETED} | {Status.WAITLISTED}


class Doctor:
    """A doctor of the department.

    Attributes:
        number: the place in the order of registration, kept for good (R16).
        schedule: the seats, by slot and weekday.
    """

    __slots__ = ("doctor_id", "number", "schedule")

    def __init__(self, doctor_id: str, number: int) -> None:
        self.doctor_id = doctor_id
        self.number = number
        self.schedule: dict[tuple[str, Weekday], int] = {}

    def take_schedule(self, entries: list[ScheduleEntry]) -> None:
        """Replace the schedule as a whole (R16); an entry without weekdays stands for every day."""
        self.schedule = {
            (entry.slot, weekday): entry.capacity for entry in entries for weekday in entry.weekdays or Weekday
        }

    def slots_on(self, weekday: Weekday) -> list[str]:
        """Give the slots worked on a weekday, in slot order."""
        return sorted(slot for slot, worked in self.schedule if worked is weekday)


class Token:
    """One patient's place in a pool.

    Attributes:
        pool: where it was asked for.
        pin: the doctor whom the request named; only that one will do.
        session: where it has its seat, or had its last one; none while it waits.
        present: the patient has checked in, seated or not (R13).
        times_preempted: how often it was said to be (R6).
        (others): as the contract has them (spec §1).
    """

    __slots__ = (
        "arrival",
        "patient_id",
        "pin",
        "pool",
        "present",
        "session",
        "source",
        "status",
        "times_preempted",
        "token_id",
        "token_no",
    )

    def __init__(self, pool: "Pool", token_id: str, token_no: int, arrival: int, request: RequestTokenData) -> None:
        self.pool = pool
        self.token_id = token_id
        self.token_no = token_no
        self.arrival = arrival
        self.patient_id = request.patient_id
        self.source = request.source
        self.pin = request.doctor_id
        self.status = Status.WAITLISTED
        self.session: Session | None = None
        self.present = False
        self.times_preempted = 0


def by_class_then_arrival(token: Token) -> Rank:
    """Who comes first: the order of a waitlist (R8), of those to be called (R14) and of those displaced (R18)."""
    return token.source.priority, token.arrival


def by_whose_seat_goes_first(token: Token) -> Rank:
    """Whose seat an emergency takes: the lowest class, then the fewest times preempted, then the latest (R6)."""
    return -token.source.priority, token.times_preempted, -token.arrival


class Line:
    """Tokens in an order; what the order looks at must not change while a token stands in it."""

    __slots__ = ("_order", "_ranks", "_tokens")

    def __init__(self, order: Callable[[Token], Rank]) -> None:
        self._order = order
        self._ranks: list[Rank] = []
        self._tokens: list[Token] = []

    def __len__(self) -> int:
        return len(self._tokens)

    def __iter__(self) -> Iterator[Token]:
        return iter(self._tokens)

    @property
    def first(self) -> Token:
        """The token at the head; there must be one."""
        return self._tokens[0]

    def position(self, token: Token) -> int:
        """Give the place of a token of the line, 1 = next."""
        return bisect_left(self._ranks, self._order(token)) + 1

    def add(self, token: Token) -> None:
        """Put a token in its place."""
        rank = self._order(token)
        index = bisect_left(self._ranks, rank)
        self._ranks.insert(index, rank)
        self._tokens.insert(index, token)

    def remove(self, token: Token) -> None:
        """Take a token of the line out."""
        index = bisect_left(self._ranks, self._order(token))
        del self._ranks[index]
        del self._tokens[index]


class Waitlist(Line):
    """Those who wait, by class, then arrival (R8), and by pin besides.

    So the next whom a free doctor may see is found from a few heads, however many wait for somebody else.
    """

    __slots__ = ("_by_pin",)

    def __init__(self) -> None:
        super().__init__(by_class_then_arrival)
        self._by_pin: dict[str | None, Line] = {}

    def add(self, token: Token) -> None:
        """Put a token in its place."""
        super().add(token)
        line = self._by_pin.get(token.pin)
        if line is None:
            line = self._by_pin[token.pin] = Line(by_class_then_arrival)
        line.add(token)

    def remove(self, token: Token) -> None:
        """Take a token of the waitlist out."""
        super().remove(token)
        self._by_pin[token.pin].remove(token)

    def first_for(self, sessions: Iterable["Session"]) -> Token | None:
        """Give the first that one of these sessions would do for."""
        pins = (None, *(session.doctor.doctor_id for session in sessions))
        heads = [line.first for pin in pins if (line := self._by_pin.get(pin))]
        return min(heads, key=by_class_then_arrival, default=None)


class Session:
    """One doctor in one slot on one date.

    Attributes:
        capacity: the seats, by the schedule or by the date's own override.
        overridden: the date has an override, which no schedule touches (R17).
        works: the doctor's schedule has the slot on that date.
        available: the doctor is there, as far as was said (R18).
        taken: how many take a seat (spec §1): who is in the three lines, or is `COMPLETED`.
        confirmed: those `CONFIRMED`, first whose seat an emergency takes first.
        checked_in: those `CHECKED_IN`, first who is called first.
        called: those `CALLED`.
    """

    __slots__ = ("available", "called", "capacity", "checked_in", "confirmed", "doctor", "overridden", "taken", "works")

    def __init__(self, doctor: Doctor) -> None:
        self.doctor = doctor
        self.capacity = 0
        self.overridden = False
        self.works = False
        self.available = True
        self.taken = 0
        self.confirmed = Line(by_whose_seat_goes_first)
        self.checked_in = Line(by_class_then_arrival)
        self.called = Line(by_class_then_arrival)

    def has_room(self) -> bool:
        """R5: tell whether the doctor is available, with fewer seats taken than capacity."""
        return self.available and self.taken < self.capacity

    def is_less_loaded_than(self, other: "Session") -> bool:
        """R5: compare taken/capacity exactly, then taken."""
        share, others_share = self.taken * other.capacity, other.taken * self.capacity
        return share < others_share or (share == others_share and self.taken < other.taken)

    def override(self, capacity: int) -> None:
        """R17: set the capacity for this date, whatever will be registered."""
        self.capacity = capacity
        self.overridden = True


class Pool:
    """All sessions of one department, date and slot: seats are granted, and waited for, per pool.

    Attributes:
        day: the date as days since 1970-01-01.
        sessions: by doctor_id, of all who work the slot or once did.
        roster: the sessions of those who work it now, in the order of registration.
        active: by patient, the token that is `WAITLISTED`, `CONFIRMED`, `CHECKED_IN` or `CALLED` (R4).
        tokens: all that were ever issued.
    """

    __slots__ = ("active", "closed", "date", "day", "roster", "sessions", "slot", "tokens", "waitlist")

    def __init__(self, date: str, slot: str) -> None:
        self.date = date
        self.day = calendar.day_of_date(date)
        self.slot = slot
        self.closed = False
        self.sessions: dict[str, Session] = {}
        self.roster: list[Session] = []
        self.waitlist = Waitlist()
        self.active: dict[str, Token] = {}
        self.tokens: list[Token] = []

    def follow_schedule(self, doctor: Doctor) -> None:
        """R16: take over whether a doctor works this slot, and for how many; the date's own settings stay."""
        capacity = doctor.schedule.get((self.slot, calendar.weekday_of(self.day)))
        session = self.sessions.get(doctor.doctor_id)
        if session is None:
            if capacity is None:
                return
            session = self.sessions[doctor.doctor_id] = Session(doctor)
        if session.works:
            self.roster.remove(session)
        session.works = capacity is not None
        if capacity is not None:
            insort(self.roster, session, key=lambda session: session.doctor.number)
            if not session.overridden:
                session.capacity = capacity

    def is_worked_by(self, doctor_id: str) -> bool:
        """Tell whether a doctor works this slot on this date."""
        session = self.sessions.get(doctor_id)
        return session is not None and session.works

    def least_loaded(self, pin: str | None, *, other_than: Session | None = None) -> Session | None:
        """R5: of the eligible sessions, give the one to take: least loaded, then registered first."""
        best: Session | None = None
        for session in self.roster:
            if (
                session.has_room()
                and (pin is None or pin == session.doctor.doctor_id)
                and session is not other_than
                and (best is None or session.is_less_loaded_than(best))
            ):
                best = session
        return best

    def session_to_clear(self, pin: str | None) -> Session | None:
        """R6: give the session whose first `CONFIRMED` token must make room for an emergency."""
        sessions = [
            session
            for session in self.roster
            if session.available
            and (pin is None or pin == session.doctor.doctor_id)
            and session.confirmed
            and session.confirmed.first.source is not Source.EMERGENCY
        ]
        return min(sessions, key=lambda session: by_whose_seat_goes_first(session.confirmed.first), default=None)

    def next_to_promote(self) -> tuple[Token, Session] | None:
        """R9: give the first of the waitlist who has an eligible doctor, and that doctor's session."""
        if self.closed or not self.waitlist:
            return None
        token = self.waitlist.first_for(session for session in self.roster if session.has_room())
        session = token and self.least_loaded(token.pin)
        return (token, session) if token and session else None

    def wait(self, token: Token) -> int:
        """Let a token wait that has no seat, or has left it; give its position (R8)."""
        token.status = Status.WAITLISTED
        token.session = None
        self.waitlist.add(token)
        return self.waitlist.position(token)

    def seat(self, token: Token, session: Session) -> None:
        """Give a seat to a token that has none, or has left it; who is present is checked in at once (R13)."""
        token.status = Status.CHECKED_IN if token.present else Status.CONFIRMED
        token.session = session
        session.taken += 1
        self._step_in(token)

    def leave(self, token: Token) -> None:
        """Take a token off its seat, or out of the waitlist; its last doctor stays known."""
        self._step_out(token)
        if token.session is not None:
            token.session.taken -= 1

    def move_on(self, token: Token, status: Status) -> None:
        """Change the status of a token that keeps its seat."""
        self._step_out(token)
        token.status = status
        self._step_in(token)

    def raise_to_emergency(self, token: Token) -> None:
        """Change the class of a token, and with it its place in the line."""
        self._step_out(token)
        token.source = Source.EMERGENCY
        self._step_in(token)

    def put_back(self, token: Token, status: Status, session: Session | None) -> None:
        """Put a token of a saved state where it was."""
        token.status, token.session = status, session
        self.tokens.append(token)
        if status in _ACTIVE:
            self.active[token.patient_id] = token
            self._step_in(token)
        if session is not None and status in _TAKES_A_SEAT:
            session.taken += 1

    def session_with(self, doctor: Doctor) -> Session:
        """Give the session of a doctor, who need not work the slot any more."""
        return self.sessions.setdefault(doctor.doctor_id, Session(doctor))

    def _step_in(self, token: Token) -> None:
        if token.status in _ACTIVE:
            self._line_of(token).add(token)

    def _step_out(self, token: Token) -> None:
        self._line_of(token).remove(token)

    def _line_of(self, token: Token) -> Line:
        """Give the line that an active token stands in."""
        if token.session is None:
            return self.waitlist
        match token.status:
            case Status.CONFIRMED:
                return token.session.confirmed
            case Status.CHECKED_IN:
                return token.session.checked_in
            case _:
                return token.session.called
