"""Keeps the books of one department from its commands and events alone, and checks I1, I2 and I4-I7 while doing so.

Nothing here asks the model: a fault that the allocator and the model share would show.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from allocation_core.calendar import date_of_day, token_id
from allocation_core.state import DepartmentState, TokenState
from schemas.commands import (
    CallNext,
    CancelToken,
    CheckIn,
    Command,
    CompleteConsultation,
    MarkNoShow,
    RequestToken,
)
from schemas.words import Source, Status, Weekday
from services.auditor.events import EventRecord
from services.auditor.pools import ACTIVE, Pool, Token
from services.auditor.records import Record
from services.auditor.report import Invariant, RecordName, Report

_DAY_MS = 86_400_000
_WEEKDAYS = tuple(Weekday)

_CAUSES = {
    "RegisterDoctor": {"DoctorRegistered", "TokenReassigned", "TokenPreempted", "TokenPromoted"},
    "RequestToken": {
        "TokenConfirmed",
        "TokenWaitlisted",
        "TokenPreempted",
        "TokenReassigned",
        "TokenUpgraded",
        "TokenPromoted",
    },
    "CancelToken": {"TokenCancelled", "TokenPromoted"},
    "MarkNoShow": {"TokenNoShow", "TokenPromoted"},
    "CheckIn": {"TokenCheckedIn"},
    "CallNext": {"TokenCompleted", "TokenCalled"},
    "CompleteConsultation": {"TokenCompleted"},
    "SetSlotCapacity": {"SlotCapacityChanged", "TokenPromoted"},
    "SetDoctorAvailability": {"DoctorAvailabilityChanged", "TokenReassigned", "TokenPreempted", "TokenPromoted"},
    "CloseSlot": {"SlotClosed", "TokenExpired"},
}
_ABOUT_THE_NAMED_TOKEN = {"TokenCancelled", "TokenNoShow", "TokenCheckedIn", "TokenCompleted"}
_ISSUES = {"TokenConfirmed", "TokenWaitlisted"}
_NOT_IN_A_CLOSED_POOL = {*_ISSUES, "TokenPreempted", "TokenPromoted", "TokenReassigned", "TokenUpgraded", "SlotClosed"}
_BEFORE = {
    "TokenPreempted": {Status.CONFIRMED, Status.CHECKED_IN},
    "TokenPromoted": {Status.WAITLISTED},
    "TokenReassigned": {Status.CONFIRMED, Status.CHECKED_IN},
    "TokenUpgraded": set(ACTIVE),
    "TokenCancelled": {Status.WAITLISTED, Status.CONFIRMED, Status.CHECKED_IN},
    "TokenNoShow": {Status.CONFIRMED, Status.CALLED},
    "TokenCheckedIn": {Status.WAITLISTED, Status.CONFIRMED},
    "TokenCalled": {Status.CHECKED_IN},
    "TokenCompleted": {Status.CALLED},
    "TokenExpired": {Status.WAITLISTED},
}
_AFTER = {
    "TokenConfirmed": Status.CONFIRMED,
    "TokenWaitlisted": Status.WAITLISTED,
    "TokenPreempted": Status.WAITLISTED,
    "TokenCancelled": Status.CANCELLED,
    "TokenNoShow": Status.NO_SHOW,
    "TokenCalled": Status.CALLED,
    "TokenCompleted": Status.COMPLETED,
    "TokenExpired": Status.EXPIRED,
}
_FIXED = ("token_no", "patient_id", "date", "slot", "source")
_STATUSES = {status.value: status for status in Status}
_SOURCES = {source.value: source for source in Source}


class Department:
    """One department's books: what the events say it looks like."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._sequence = 0
        self._arrivals = 0
        self._day = -1
        self._yesterday = self._oldest = ""
        self._schedules: dict[str, list[dict[str, Any]]] = {}
        self._pools: dict[tuple[str, str], Pool] = {}
        self._tokens: dict[str, Token] = {}
        self._command: Command
        self._record: Record
        self._touched: set[Pool] = set()
        self._taken_before: dict[tuple[Pool, str], int] = {}

    @classmethod
    def resumed(cls, report: Report, state: DepartmentState, record: Record) -> "Department":
        """Give the books as they are where a snapshot ends; `record` is its last command's."""
        books = cls(report)
        books._sequence, books._arrivals = state.sequence, state.arrivals
        books._days_go_by(state.day * _DAY_MS)
        for doctor_id, week in state.doctors:
            books._schedules[doctor_id] = [
                {"slot": slot, "capacity": capacity, "weekdays": [_WEEKDAYS[weekday]]}
                for (slot, weekday), capacity in week.items()
            ]
        for day, slot in state.closed:
            books._pool(date_of_day(day), slot).closed = True
        for (day, slot, doctor_id), said in state.sessions.items():
            pool = books._pool(date_of_day(day), slot)
            if said.capacity is not None:
                pool.overrides[doctor_id] = said.capacity
            if said.away:
                pool.unavailable.add(doctor_id)
        for (day, token_no), token in sorted(state.tokens.items()):
            books._resume_token(state.name, date_of_day(day), token_no, token, record)
        for pool in books._pools.values():
            pool.excused = pool.date < books._yesterday and pool.stranded() is not None
        return books

    def _resume_token(self, name: str, day: str, token_no: int, state: TokenState, record: Record) -> None:
        pool = self._pool(day, state.slot)
        facility_id, _, department_id = name.partition("/")
        token = Token(
            token_id=token_id(facility_id, department_id, day, token_no),
            token_no=token_no,
            patient_id=state.patient_id,
            pool=pool,
            arrival=state.arrival,
            source=state.source,
            status=state.status,
            doctor_id=state.doctor_id,
            pin=state.pin,
            said=record,
            event_id="",
            present=state.present,
        )
        self._tokens[token.token_id] = token
        pool.tokens.append(token)
        pool.sit_or_wait(token)
        if token.status in ACTIVE:
            pool.active[token.patient_id] = token

    def enter(self, record: Record, command: Command, events: Sequence[EventRecord]) -> None:
        """Enter a command's events, each seen for the first time, and check what they did."""
        self._command, self._record = command, record
        self._touched.clear()
        self._taken_before.clear()
        self._days_go_by(record.timestamp_ms)
        self._check_causes(events)
        for event in events:
            self._check_sequence(event)
            self._enter(event)
        self._check_seats(events)
        self._check_waitlists(events)

    def _enter(self, event: EventRecord) -> None:
        data = event.data
        match event.type:
            case "CommandRejected":
                pass
            case "DoctorRegistered":
                self._enter_schedule(data["doctor_id"], data["schedule"])
            case "SlotCapacityChanged":
                self._enter_capacity(event)
            case "DoctorAvailabilityChanged":
                pool = self._pool(data["date"], data["slot"])
                (pool.unavailable.discard if data["available"] else pool.unavailable.add)(data["doctor_id"])
            case "SlotClosed":
                pool = self._pool(data["date"], data["slot"])
                self._check_open(pool, event)
                pool.closed = True
            case _:
                self._enter_token(event)

    # R3: what belongs to an old date is forgotten.

    def _days_go_by(self, timestamp_ms: int) -> None:
        day = timestamp_ms // _DAY_MS
        if day <= self._day:
            return
        self._day = day
        today = datetime.fromtimestamp(day * 86_400, UTC).date()
        self._yesterday = (today - timedelta(days=1)).isoformat()
        self._oldest = (today - timedelta(days=7)).isoformat()
        for place in [place for place in self._pools if place[0] < self._oldest]:
            for token in self._pools.pop(place).tokens:
                self._tokens.pop(token.token_id, None)

    def _pool(self, day: str, slot: str) -> Pool:
        pool = self._pools.get((day, slot))
        if pool is None:
            pool = self._pools[day, slot] = Pool(day, slot, self._sessions(day, slot))
        self._touched.add(pool)
        return pool

    def _sessions(self, day: str, slot: str) -> dict[str, int]:
        """Who works a slot on a date, with the capacity by schedule."""
        weekday = _WEEKDAYS[date.fromisoformat(day).weekday()]
        return {
            doctor_id: entry["capacity"]
            for doctor_id, schedule in self._schedules.items()
            for entry in schedule
            if entry["slot"] == slot and weekday in entry.get("weekdays", _WEEKDAYS)
        }

    def _enter_schedule(self, doctor_id: str, schedule: list[dict[str, Any]]) -> None:
        self._schedules[doctor_id] = schedule
        for pool in self._pools.values():
            pool.schedule = self._sessions(pool.date, pool.slot)
            if pool.date < self._yesterday:
                pool.excused = True
            else:
                self._touched.add(pool)

    def _enter_capacity(self, event: EventRecord) -> None:
        data = event.data
        pool = self._pool(data["date"], data["slot"])
        self._check_open(pool, event)
        taken = pool.taken[data["doctor_id"]]
        pool.overrides[data["doctor_id"]] = data["capacity"]
        if (data["taken"], data["over_by"]) != (taken, max(0, taken - data["capacity"])):
            self._breach(Invariant.I1, f"says that {data['taken']} seats are taken, by its events {taken} are", event)

    # Tokens.

    def _enter_token(self, event: EventRecord) -> None:
        token = self._tokens.get(event.data["token_id"])
        if token is None and event.type not in _ISSUES:
            self._breach(Invariant.I7, f"{event.type} of a token that was never issued, or is forgotten (R3)", event)
        elif token is None:
            self._issue(event)
        else:
            self._change(token, event)

    def _issue(self, event: EventRecord) -> None:
        data = event.data
        pool = self._pool(data["date"], data["slot"])
        self._arrivals += 1
        command = self._command
        token = Token(
            token_id=data["token_id"],
            token_no=data["token_no"],
            patient_id=data["patient_id"],
            pool=pool,
            arrival=self._arrivals,
            source=_SOURCES[data["source"]],
            status=_STATUSES[data["status"]],
            doctor_id=data["doctor_id"],
            pin=command.data.doctor_id if isinstance(command, RequestToken) else None,
            said=event.record,
            event_id=event.event_id,
        )
        self._check_open(pool, event)
        self._check_request(event)
        if token.status is not _AFTER[event.type]:
            self._breach(Invariant.I7, f"{event.type} leaves the token {token.status}", event)
        if (token.doctor_id is None) != (token.status is Status.WAITLISTED):
            self._breach(Invariant.I7, f"a token that is {token.status} has doctor {token.doctor_id}", event)
        holder = pool.active.get(token.patient_id)
        if holder is not None:
            text = f"{token.token_id} is issued to a patient who holds {holder.token_id} in the same pool"
            self._report.breach(Invariant.I2, text, holder.record, RecordName.of(event.record, event.event_id))
        self._tokens[token.token_id] = token
        pool.tokens.append(token)
        self._place(token, event)

    def _change(self, token: Token, event: EventRecord) -> None:
        pool, data = token.pool, event.data
        self._touched.add(pool)
        self._check_open(pool, event)
        self._check_unchanged(token, event)
        self._check_transition(token, event)
        self._check_doctor(token, event)
        if event.type == "TokenPromoted":
            self._check_order(token, event)
        self._note_taken(token)
        pool.leave(token)
        if event.type == "TokenUpgraded" and token.status is Status.WAITLISTED:
            token.pin = self._command.data.doctor_id if isinstance(self._command, RequestToken) else token.pin
        if event.type == "TokenCheckedIn":
            token.present = True
        token.source, token.status = _SOURCES[data["source"]], _STATUSES[data["status"]]
        token.doctor_id = data["doctor_id"]
        token.said, token.event_id = event.record, event.event_id
        self._place(token, event)

    def _place(self, token: Token, event: EventRecord) -> None:
        pool = token.pool
        self._note_taken(token)
        pool.sit_or_wait(token)
        if token.status in ACTIVE:
            pool.active[token.patient_id] = token
        elif pool.active.get(token.patient_id) is token:
            del pool.active[token.patient_id]
        if "position" in event.data and token.status is Status.WAITLISTED:
            position = pool.position(token)
            if event.data["position"] != position:
                text = f"says position {event.data['position']}, by the waitlist's order it is {position}"
                self._breach(Invariant.I5, text, event)

    def _note_taken(self, token: Token) -> None:
        if token.doctor_id is not None:
            self._taken_before.setdefault((token.pool, token.doctor_id), token.pool.taken[token.doctor_id])

    # The checks.

    def _breach(self, invariant: Invariant, text: str, event: EventRecord, *others: RecordName) -> None:
        self._report.breach(
            invariant, text, RecordName.of(event.record, event.event_id), *others, RecordName.of(self._record)
        )

    def _check_sequence(self, event: EventRecord) -> None:
        expected = self._sequence + 1
        if event.sequence != expected:
            self._breach(Invariant.I4, f"sequence {event.sequence} where {expected} should follow", event)
        self._sequence = event.sequence

    def _check_causes(self, events: Sequence[EventRecord]) -> None:
        command = type(self._command).__name__
        allowed = _CAUSES[command]
        for event in events:
            if event.type not in allowed and (event.type != "CommandRejected" or len(events) > 1):
                self._breach(Invariant.I7, f"{event.type} among the {len(events)} events of a {command}", event)

    def _check_open(self, pool: Pool, event: EventRecord) -> None:
        if pool.closed and event.type in _NOT_IN_A_CLOSED_POOL:
            self._breach(Invariant.I7, f"{event.type} in a closed pool (R19)", event)
        elif not pool.closed and event.type == "TokenExpired":
            self._breach(Invariant.I7, "TokenExpired in an open pool (R19)", event)

    def _check_request(self, event: EventRecord) -> None:
        if not isinstance(self._command, RequestToken):
            return  # _check_causes says so already
        asked = self._command.data
        wrong = [
            name for name in ("date", "slot", "patient_id", "source") if event.data[name] != str(getattr(asked, name))
        ]
        if wrong:
            self._breach(Invariant.I7, f"{event.type} is not what was asked for: {', '.join(wrong)}", event)

    def _check_unchanged(self, token: Token, event: EventRecord) -> None:
        data, pool = event.data, token.pool
        source = "EMERGENCY" if event.type == "TokenUpgraded" else token.source
        fixed = (token.token_no, token.patient_id, pool.date, pool.slot, source)
        if tuple(data[name] for name in _FIXED) != fixed:
            changed = [name for name, value in zip(_FIXED, fixed, strict=True) if data[name] != value]
            self._breach(Invariant.I7, f"{event.type} changes what it must not: {', '.join(changed)}", event)

    def _check_transition(self, token: Token, event: EventRecord) -> None:
        if event.type in _ISSUES:
            self._breach(Invariant.I7, f"{event.type} of a token that was issued before", event, token.record)
            return
        before, after = token.status, _STATUSES[event.data["status"]]
        match event.type:
            case "TokenPromoted":
                lawful = Status.CHECKED_IN if token.present else Status.CONFIRMED
            case "TokenCheckedIn":
                lawful = Status.WAITLISTED if before is Status.WAITLISTED else Status.CHECKED_IN
            case kind:
                lawful = _AFTER.get(kind, before)
        if before not in _BEFORE[event.type] or not self._may_happen(token, event):
            self._breach(Invariant.I7, f"{event.type} of a token that was {before}", event, token.record)
        elif after is not lawful:
            text = f"{event.type} makes a token that was {before} {after}, not {lawful}"
            self._breach(Invariant.I7, text, event, token.record)

    def _may_happen(self, token: Token, event: EventRecord) -> bool:
        """Whether §3 allows what is finer than a status."""
        match event.type:
            case "TokenPreempted" | "TokenReassigned" if event.data["reason"] == "EMERGENCY":
                return token.status is Status.CONFIRMED and token.source is not Source.EMERGENCY  # R6
            case "TokenUpgraded":
                return token.source is not Source.EMERGENCY and event.data["from_source"] == token.source.value
            case "TokenCheckedIn":
                return not (token.status is Status.WAITLISTED and token.present)
            case kind if kind in _ABOUT_THE_NAMED_TOKEN:
                return self._is_named(token)
            case "TokenCalled":
                return self._is_session_called(token)
            case _:
                return True

    def _is_named(self, token: Token) -> bool:
        match self._command:
            case CancelToken() | MarkNoShow() | CheckIn() | CompleteConsultation():
                return self._command.data.token_id == token.token_id
            case _:
                return self._is_session_called(token)

    def _is_session_called(self, token: Token) -> bool:
        match self._command:
            case CallNext():
                called = self._command.data
                return (called.date, called.slot, called.doctor_id) == (
                    token.pool.date,
                    token.pool.slot,
                    token.doctor_id,
                )
            case _:
                return True  # _check_causes says so already

    def _check_doctor(self, token: Token, event: EventRecord) -> None:
        before, after = token.doctor_id, event.data["doctor_id"]
        match event.type:
            case "TokenPreempted":
                lawful = after is None and event.data["lost_doctor_id"] == before
            case "TokenWaitlisted":
                lawful = after is None
            case "TokenPromoted" | "TokenConfirmed":
                lawful = after is not None
            case "TokenReassigned":
                lawful = after is not None and after != before and event.data["from_doctor_id"] == before
            case "TokenCancelled" | "TokenExpired" if before is None:
                lawful = True  # §2 leaves open who it was: I8 sees to it
            case _:
                lawful = after == before
        if not lawful:
            self._breach(Invariant.I7, f"{event.type} takes a token from {before} to {after}", event, token.record)
        if event.type in {"TokenPromoted", "TokenReassigned"} and token.pin is not None and after != token.pin:
            self._breach(Invariant.I5, f"the token is pinned to {token.pin}, {after} will not do", event)

    def _check_order(self, token: Token, event: EventRecord) -> None:
        doctor_id = event.data["doctor_id"]
        first = token.pool.first_for(doctor_id) if doctor_id is not None else None
        if first is not None and first.rank < token.rank:
            text = f"{token.token_id} gets a seat with {doctor_id} that {first.token_id} waits for ahead of it"
            self._breach(Invariant.I5, text, event, first.record)

    def _check_seats(self, events: Sequence[EventRecord]) -> None:
        """I1, a little sharper: R16 and R17 may lower a capacity, but no command at all adds a seat above it."""
        for (pool, doctor_id), before in self._taken_before.items():
            taken, capacity = pool.taken[doctor_id], pool.capacity(doctor_id)
            if taken > before and (taken > capacity or doctor_id in pool.unavailable):
                why = f"{taken} of {capacity} seats taken" if taken > capacity else "is not available"
                guilty = [
                    RecordName.of(event.record, event.event_id)
                    for event in events
                    if event.data.get("doctor_id") == doctor_id
                ]
                text = f"session {doctor_id} {pool.date} {pool.slot} is given a seat more: {why}"
                self._report.breach(Invariant.I1, text, *guilty, RecordName.of(self._record))

    def _check_waitlists(self, events: Sequence[EventRecord]) -> None:
        """I6; where it does not hold it is said once, and again only if R9 came by and left it so."""
        for pool in self._touched:
            stranded = None if pool.closed else pool.stranded()
            if stranded is None:
                pool.excused = False
            elif not pool.excused or self._was_gone_through(pool, events):
                pool.excused = True
                token, doctor_id = stranded
                text = f"{token.token_id} waits though {doctor_id} has a seat for it"
                self._report.breach(Invariant.I6, text, RecordName.of(self._record), token.record)

    def _was_gone_through(self, pool: Pool, events: Sequence[EventRecord]) -> bool:
        """Whether R9 came by: a seat was freed, or somebody promoted."""
        freed = any(
            pool.taken[doctor_id] < before
            for (touched, doctor_id), before in self._taken_before.items()
            if touched is pool
        )
        return freed or any(
            event.type == "TokenPromoted" and (event.data["date"], event.data["slot"]) == (pool.date, pool.slot)
            for event in events
        )
