"""The pure model: spec §3 in plain Python, to learn the rules from and to hold every other engine against.

Read it from `Department.decide` down: each rule is kept in one place, where it is cited. A rule's guards stand first,
in the contract's order, and give the reason of a refusal; what follows the blank line always succeeds. Nothing here
looks at a clock, at dice or at the outside: events follow from the commands and their records' timestamps alone.
"""

from collections.abc import Callable
from typing import Any, Final

from allocation_core import calendar
from allocation_core.digests import content_digest, sender_digest
from allocation_core.pool import Doctor, Pool, Session, Token, by_class_then_arrival
from schemas.commands import (
    CallNext,
    CancelToken,
    CheckIn,
    CloseSlot,
    Command,
    CompleteConsultation,
    MarkNoShow,
    RegisterDoctor,
    RequestToken,
    RequestTokenData,
    SetDoctorAvailability,
    SetSlotCapacity,
)
from schemas.events import Event
from schemas.words import PreemptionReason, PromotionReason, ReassignmentReason, RejectionReason, Source, Status

PAST_DAYS: Final = 1
AHEAD_DAYS: Final = 180
MEMORY_DAYS: Final = 7
MAX_WAITING: Final = 1000
MAX_DOCTORS: Final = 200

Refusal = RejectionReason | None


class FirstSight:
    """What R2 remembers of a command.

    Attributes:
        day: the department's when it came.
        digest: of its type and data.
        token_id: the token that it issued or raised.
    """

    __slots__ = ("day", "digest", "token_id")

    def __init__(self, day: int, digest: bytes) -> None:
        self.day = day
        self.digest = digest
        self.token_id: str | None = None


class Department:
    """One department: an ordered stream of commands, which no other department touches.

    Attributes:
        day: R3's day as days since 1970-01-01; -1 before the first command.
        sequence: the number of its last event.
        arrivals: how many tokens it has issued.
        doctors: by doctor_id, in the order of registration.
        pools: by day and slot, those in which anything was done and whose date is not forgotten.
        tokens: by token_id, those whose date is not forgotten; a token_id is compared whole, so it is the key.
        token_nos: the last token_no by day.
        commands: by the digest of source and id, what is remembered of them (R2).
    """

    def __init__(self, facility_id: str, department_id: str) -> None:
        self.facility_id = facility_id
        self.department_id = department_id
        self.day = -1
        self.sequence = 0
        self.arrivals = 0
        self.doctors: dict[str, Doctor] = {}
        self.pools: dict[tuple[int, str], Pool] = {}
        self.tokens: dict[str, Token] = {}
        self.token_nos: dict[int, int] = {}
        self.commands: dict[bytes, FirstSight] = {}
        self._events: list[Event] = []

    def decide(self, command: Command, timestamp_ms: int) -> list[Event]:
        """Decide the department's next readable command, and give its events in their order (R20)."""
        self._events = []
        self._let_days_go_by(timestamp_ms)
        key, digest = sender_digest(command), content_digest(command)
        first = self.commands.get(key)
        if first is None:
            self.commands[key] = FirstSight(self.day, digest)
            reason = self._refuse_date(command) or _RULES[type(command)](self, command)
            if reason is not None:
                self._reject(command, reason, _token_refused(command, reason))
        elif first.digest == digest:
            self._reject(command, RejectionReason.DUPLICATE_COMMAND, first.token_id)
        else:
            self._reject(command, RejectionReason.ID_REUSED, first.token_id)
        return self._events

    def _let_days_go_by(self, timestamp_ms: int) -> None:
        """R3: the day is the latest so far; what is older than the memory is forgotten."""
        day = calendar.day_of_timestamp(timestamp_ms)
        if day <= self.day:
            return
        self.day = day
        oldest = day - MEMORY_DAYS
        for key in [key for key in self.pools if key[0] < oldest]:
            for token in self.pools.pop(key).tokens:
                del self.tokens[token.token_id]
        self.token_nos = {day: token_no for day, token_no in self.token_nos.items() if day >= oldest}
        self.commands = {key: first for key, first in self.commands.items() if first.day >= oldest}

    def _refuse_date(self, command: Command) -> Refusal:
        """R3: a command's date is neither over nor too far ahead."""
        if type(command) not in _DATED:
            return None
        data: Any = command.data
        day = calendar.day_of_date(data.date)
        if day < self.day - PAST_DAYS:
            return RejectionReason.DATE_IN_PAST
        if day > self.day + AHEAD_DAYS:
            return RejectionReason.DATE_TOO_FAR
        return None

    # Requests

    def request_token(self, command: RequestToken) -> Refusal:
        """R4: issue a token, or raise the one that the patient holds (R4a)."""
        request = command.data
        if not self.doctors:
            return RejectionReason.DEPARTMENT_UNKNOWN
        pool = self._pool(request.date, request.slot)
        if pool is None:
            return RejectionReason.SLOT_UNKNOWN
        held = pool.active.get(request.patient_id)
        reason = _refuse_request(request, pool, held)
        if reason is not None:
            return reason

        if held is None:
            token = self._issue(request, pool)
            self._grant(token)
        else:
            token = held
            self._raise(token, request.doctor_id)
        self.commands[sender_digest(command)].token_id = token.token_id
        return None

    def _issue(self, request: RequestTokenData, pool: Pool) -> Token:
        """Make a token with the date's next number and the department's next arrival (spec §1)."""
        token_no = self.token_nos[pool.day] = self.token_nos.get(pool.day, 0) + 1
        self.arrivals += 1
        token_id = calendar.token_id(self.facility_id, self.department_id, pool.date, token_no)
        token = Token(pool, token_id, token_no, self.arrivals, request)
        self.tokens[token_id] = pool.active[token.patient_id] = token
        pool.tokens.append(token)
        return token

    def _grant(self, token: Token) -> None:
        """R5, R6, R7: give a new token a seat, or let it wait."""
        session = self._find_seat(token)
        if session is None:
            position = token.pool.wait(token)
            self._tell("TokenWaitlisted", token, position=position)
        else:
            token.pool.seat(token, session)
            self._tell("TokenConfirmed", token)

    def _raise(self, token: Token, pin: str | None) -> None:
        """R4a: make a token an emergency's; if it waits, pin it anew and look for a seat."""
        pool, from_source = token.pool, token.source
        pool.raise_to_emergency(token)
        self._tell("TokenUpgraded", token, from_source=from_source)
        if token.status is not Status.WAITLISTED:
            return
        pool.leave(token)
        token.pin = pin
        pool.wait(token)
        session = self._find_seat(token)
        if session is not None:
            pool.leave(token)
            pool.seat(token, session)
            self._tell("TokenPromoted", token, reason=PromotionReason.UPGRADED)

    def _find_seat(self, token: Token) -> Session | None:
        """Give a session with a seat for a token: by R5 or, for an emergency, by R6."""
        session = token.pool.least_loaded(token.pin)
        if session is None and token.source is Source.EMERGENCY:
            session = token.pool.session_to_clear(token.pin)
            if session is not None:
                self._move_victim(session, token)
        return session

    def _move_victim(self, session: Session, emergency: Token) -> None:
        """R6: free a seat of a session for an emergency; who had it goes to another doctor, or waits."""
        victim = session.confirmed.first
        victim.pool.leave(victim)
        other = victim.pool.least_loaded(victim.pin, other_than=session)
        self._displace(victim, session, other, PreemptionReason.EMERGENCY, by_token_id=emergency.token_id)

    def _displace(self, token: Token, lost: Session, other: Session | None, why: PreemptionReason, **by: str) -> None:
        """R6, R18: seat a token that has left its seat elsewhere, else let it wait with its own arrival."""
        doctor_id = lost.doctor.doctor_id
        if other is None:
            token.times_preempted += 1
            position = token.pool.wait(token)
            self._tell("TokenPreempted", token, position=position, lost_doctor_id=doctor_id, reason=why, **by)
        else:
            token.pool.seat(token, other)
            reason = ReassignmentReason(why)
            self._tell("TokenReassigned", token, from_doctor_id=doctor_id, reason=reason, **by)

    # Seats freed

    def _promote(self, pool: Pool, reason: PromotionReason) -> None:
        """R9: of an open pool's waitlist, in order, give each a seat who has an eligible doctor."""
        while (promotion := pool.next_to_promote()) is not None:
            token, session = promotion
            pool.leave(token)
            pool.seat(token, session)
            self._tell("TokenPromoted", token, reason=reason)

    # Tokens

    def cancel_token(self, command: CancelToken) -> Refusal:
        """R11: end a token whose patient has not been called."""
        token = self.tokens.get(command.data.token_id)
        if token is None:
            return RejectionReason.TOKEN_UNKNOWN
        if token.status not in (Status.WAITLISTED, Status.CONFIRMED, Status.CHECKED_IN):
            return RejectionReason.INVALID_TRANSITION

        _end(token, Status.CANCELLED)
        self._tell("TokenCancelled", token, **_if_given(command.data.reason))
        if token.session is not None:
            self._promote(token.pool, PromotionReason.CANCELLATION)
        return None

    def mark_no_show(self, command: MarkNoShow) -> Refusal:
        """R12: end a token whose patient did not come, or not when called."""
        token = self.tokens.get(command.data.token_id)
        if token is None:
            return RejectionReason.TOKEN_UNKNOWN
        if token.status not in (Status.CONFIRMED, Status.CALLED):
            return RejectionReason.INVALID_TRANSITION

        _end(token, Status.NO_SHOW)
        self._tell("TokenNoShow", token)
        self._promote(token.pool, PromotionReason.NO_SHOW)
        return None

    def check_in(self, command: CheckIn) -> Refusal:
        """R13: the patient is there; a waiting token waits on, but its patient is known to be present."""
        token = self.tokens.get(command.data.token_id)
        if token is None:
            return RejectionReason.TOKEN_UNKNOWN
        if token.status not in (Status.CONFIRMED, Status.WAITLISTED) or token.present:
            return RejectionReason.INVALID_TRANSITION

        token.present = True
        if token.status is Status.CONFIRMED:
            token.pool.move_on(token, Status.CHECKED_IN)
        self._tell("TokenCheckedIn", token)
        return None

    def call_next(self, command: CallNext) -> Refusal:
        """R14: call a session's next; whoever was called before is done."""
        data = command.data
        if data.doctor_id not in self.doctors:
            return RejectionReason.DOCTOR_UNKNOWN
        pool = self.pools.get((calendar.day_of_date(data.date), data.slot))
        session = None if pool is None else pool.sessions.get(data.doctor_id)
        if session is None or not session.checked_in:
            return RejectionReason.QUEUE_EMPTY

        for token in list(session.called):
            self._complete(token)
        token = session.checked_in.first
        token.pool.move_on(token, Status.CALLED)
        self._tell("TokenCalled", token)
        return None

    def complete_consultation(self, command: CompleteConsultation) -> Refusal:
        """R15: the consultation of a called patient is over."""
        token = self.tokens.get(command.data.token_id)
        if token is None:
            return RejectionReason.TOKEN_UNKNOWN
        if token.status is not Status.CALLED:
            return RejectionReason.INVALID_TRANSITION

        self._complete(token)
        return None

    def _complete(self, token: Token) -> None:
        """R14, R15: end a token; its seat stays taken."""
        token.pool.move_on(token, Status.COMPLETED)
        del token.pool.active[token.patient_id]
        self._tell("TokenCompleted", token)

    # Doctors and slots

    def register_doctor(self, command: RegisterDoctor) -> Refusal:
        """R16: a doctor's schedule, new or replaced, counts at once."""
        data = command.data
        doctor = self.doctors.get(data.doctor_id)
        if doctor is None and len(self.doctors) >= MAX_DOCTORS:
            return RejectionReason.DEPARTMENT_FULL

        if doctor is None:
            doctor = self.doctors[data.doctor_id] = Doctor(data.doctor_id, number=len(self.doctors))
        doctor.take_schedule(data.schedule)
        schedule = [entry.model_dump(exclude_none=True) for entry in data.schedule]
        self._say("DoctorRegistered", {"doctor_id": data.doctor_id, "name": data.name, "schedule": schedule})
        for key in sorted(self.pools):
            pool = self.pools[key]
            pool.follow_schedule(doctor)
            if not pool.closed and pool.day >= self.day - PAST_DAYS:
                if not pool.is_worked_by(data.doctor_id):
                    self._displace_all(pool, data.doctor_id)
                self._promote(pool, PromotionReason.DOCTOR_REGISTERED)
        return None

    def set_slot_capacity(self, command: SetSlotCapacity) -> Refusal:
        """R17: a session's seats on one date; lowering them evicts nobody."""
        data = command.data
        if data.doctor_id not in self.doctors:
            return RejectionReason.DOCTOR_UNKNOWN
        pool = self._pool(data.date, data.slot)
        if pool is None or not pool.is_worked_by(data.doctor_id):
            return RejectionReason.SLOT_UNKNOWN
        if pool.closed:
            return RejectionReason.SLOT_CLOSED

        session = pool.sessions[data.doctor_id]
        session.override(data.capacity)
        self._say(
            "SlotCapacityChanged",
            {
                "doctor_id": data.doctor_id,
                "date": data.date,
                "slot": data.slot,
                "capacity": data.capacity,
                "taken": session.taken,
                "over_by": max(0, session.taken - data.capacity),
            },
        )
        self._promote(pool, PromotionReason.CAPACITY_RAISED)
        return None

    def set_doctor_availability(self, command: SetDoctorAvailability) -> Refusal:
        """R18: a doctor is away, or back, in one slot or in all open ones of that day."""
        data = command.data
        doctor = self.doctors.get(data.doctor_id)
        if doctor is None:
            return RejectionReason.DOCTOR_UNKNOWN
        slots = doctor.slots_on(calendar.weekday_of(calendar.day_of_date(data.date)))
        pools = [self._pool(data.date, slot) for slot in slots if data.slot in (None, slot)]
        if not pools:
            return RejectionReason.SLOT_UNKNOWN
        open_pools = [pool for pool in pools if pool is not None and not pool.closed]
        if not open_pools:
            return RejectionReason.SLOT_CLOSED

        for pool in open_pools:
            where = {"doctor_id": data.doctor_id, "date": data.date, "slot": pool.slot}
            self._say("DoctorAvailabilityChanged", {**where, "available": data.available, **_if_given(data.reason)})
            self._set_available(pool, data.doctor_id, data.available)
        return None

    def _set_available(self, pool: Pool, doctor_id: str, available: bool) -> None:
        """R18: what it does to one session that a doctor is away, or back; nothing if that is no news."""
        session = pool.sessions[doctor_id]
        if available is session.available:
            return
        session.available = available
        if available:
            self._promote(pool, PromotionReason.DOCTOR_AVAILABLE)
        else:
            self._displace_all(pool, doctor_id)

    def _displace_all(self, pool: Pool, doctor_id: str) -> None:
        """R18: find seats elsewhere for those whom a doctor was to see and cannot any more, else let them wait."""
        lost = pool.sessions.get(doctor_id)
        if lost is None:
            return
        for token in sorted([*lost.confirmed, *lost.checked_in], key=by_class_then_arrival):
            pool.leave(token)
            other = self._find_seat(token)
            self._displace(token, lost, other, PreemptionReason.DOCTOR_UNAVAILABLE)

    def close_slot(self, command: CloseSlot) -> Refusal:
        """R19: nothing is granted in the pool any more, so nobody waits on."""
        data = command.data
        pool = self._pool(data.date, data.slot)
        if pool is None:
            return RejectionReason.SLOT_UNKNOWN
        if pool.closed:
            return RejectionReason.SLOT_CLOSED

        pool.closed = True
        self._say("SlotClosed", {"date": data.date, "slot": data.slot})
        for token in list(pool.waitlist):
            _end(token, Status.EXPIRED)
            self._tell("TokenExpired", token)
        return None

    def _pool(self, date: str, slot: str) -> Pool | None:
        """Give the pool of a slot on a date; none if no doctor of the department works it then."""
        key = (calendar.day_of_date(date), slot)
        pool = self.pools.get(key)
        if pool is None:
            pool = Pool(date, slot)
            for doctor in self.doctors.values():
                pool.follow_schedule(doctor)
            if pool.roster:
                self.pools[key] = pool
        return pool if pool.roster else None

    # Events

    def _tell(self, event: str, token: Token, **more: Any) -> None:
        """Say what became of a token."""
        pool, session = token.pool, token.session
        self._say(
            event,
            {
                "date": pool.date,
                "slot": pool.slot,
                "token_id": token.token_id,
                "token_no": token.token_no,
                "patient_id": token.patient_id,
                "source": token.source,
                "status": token.status,
                "doctor_id": None if session is None else session.doctor.doctor_id,
                **more,
            },
        )

    def _reject(self, command: Command, reason: RejectionReason, token_id: str | None) -> None:
        """Refuse a command; that is an event like any other (R21)."""
        named = {} if token_id is None else {"token_id": token_id}
        self._say("CommandRejected", {"command_type": type(command).__name__, "reason": reason, **named})

    def _say(self, event: str, fields: dict[str, Any]) -> None:
        self.sequence += 1
        data = {"facility_id": self.facility_id, "department_id": self.department_id, **fields}
        self._events.append(Event(event, self.sequence, data))


class Model:
    """All departments, each of which begins with its first readable command."""

    def __init__(self) -> None:
        self.departments: dict[tuple[str, str], Department] = {}

    def decide(self, command: Command, timestamp_ms: int) -> list[Event]:
        """Decide a readable command, and give its events in their order.

        Args:
            command: the next one of its department.
            timestamp_ms: its record's Kafka timestamp.
        """
        key = (command.data.facility_id, command.data.department_id)
        department = self.departments.get(key)
        if department is None:
            department = self.departments[key] = Department(*key)
        return department.decide(command, timestamp_ms)


def _refuse_request(request: RequestTokenData, pool: Pool, held: Token | None) -> Refusal:
    """R4 from `SLOT_CLOSED` on, and R7's full waitlist; `held` is the token that the patient has in the pool."""
    if pool.closed:
        return RejectionReason.SLOT_CLOSED
    if request.doctor_id is not None and not pool.is_worked_by(request.doctor_id):
        return RejectionReason.DOCTOR_UNKNOWN
    is_emergency = request.source is Source.EMERGENCY
    if held is not None and (not is_emergency or held.source is Source.EMERGENCY):
        return RejectionReason.DUPLICATE_PATIENT
    if len(pool.waitlist) >= MAX_WAITING and not is_emergency and pool.least_loaded(request.doctor_id) is None:
        return RejectionReason.WAITLIST_FULL
    return None


def _end(token: Token, status: Status) -> None:
    """Take a token out of its pool for good."""
    token.pool.leave(token)
    token.status = status
    del token.pool.active[token.patient_id]


def _if_given(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {"reason": reason}


def _token_refused(command: Command, reason: RejectionReason) -> str | None:
    """Give the token that a refusal names: the one that the command named, where the contract says so."""
    data: Any = command.data
    if reason in (RejectionReason.TOKEN_UNKNOWN, RejectionReason.INVALID_TRANSITION):
        return str(data.token_id)
    return None


_RULES: Final[dict[type[Command], Callable[[Department, Any], Refusal]]] = {
    RegisterDoctor: Department.register_doctor,
    RequestToken: Department.request_token,
    CancelToken: Department.cancel_token,
    MarkNoShow: Department.mark_no_show,
    CheckIn: Department.check_in,
    CompleteConsultation: Department.complete_consultation,
    CallNext: Department.call_next,
    SetSlotCapacity: Department.set_slot_capacity,
    SetDoctorAvailability: Department.set_doctor_availability,
    CloseSlot: Department.close_slot,
}
_DATED: Final = frozenset({RequestToken, CallNext, SetSlotCapacity, SetDoctorAvailability, CloseSlot})
