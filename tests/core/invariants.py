"""Books kept from commands and events alone, and the contract's invariants checked in them after every command.

No engine is asked for its state: what an engine does not say does not count. The invariants are spec §4's I1, I2 and
I4 to I7; I3 is here that no command goes without an event.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from allocation_core.calendar import day_of_date, day_of_timestamp, token_id, weekday_of
from schemas.commands import Command, RequestToken
from schemas.events import Event
from schemas.words import Source, Weekday

PoolKey = tuple[str, str]
SessionKey = tuple[str, str, str]

ACTIVE = {"WAITLISTED", "CONFIRMED", "CHECKED_IN", "CALLED"}
SEATED = {"CONFIRMED", "CHECKED_IN", "CALLED", "COMPLETED"}
HOLDING = {"CONFIRMED", "CHECKED_IN"}
MAY_RAISE_OVER_BY = {"RegisterDoctor", "SetSlotCapacity"}

MOVES: dict[str, tuple[set[str], set[str], set[str]]] = {
    # event: (the commands that may cause it, the statuses it may find, the statuses it may leave)
    "TokenConfirmed": ({"RequestToken"}, {"NEW"}, {"CONFIRMED"}),
    "TokenWaitlisted": ({"RequestToken"}, {"NEW"}, {"WAITLISTED"}),
    "TokenUpgraded": ({"RequestToken"}, ACTIVE, ACTIVE),
    "TokenPreempted": ({"RequestToken", "SetDoctorAvailability", "RegisterDoctor"}, HOLDING, {"WAITLISTED"}),
    "TokenReassigned": ({"RequestToken", "SetDoctorAvailability", "RegisterDoctor"}, HOLDING, HOLDING),
    "TokenPromoted": (
        {"RequestToken", "CancelToken", "MarkNoShow", "SetSlotCapacity", "SetDoctorAvailability", "RegisterDoctor"},
        {"WAITLISTED"},
        HOLDING,
    ),
    "TokenCheckedIn": ({"CheckIn"}, {"CONFIRMED", "WAITLISTED"}, {"CHECKED_IN", "WAITLISTED"}),
    "TokenCalled": ({"CallNext"}, {"CHECKED_IN"}, {"CALLED"}),
    "TokenCompleted": ({"CallNext", "CompleteConsultation"}, {"CALLED"}, {"COMPLETED"}),
    "TokenCancelled": ({"CancelToken"}, {"WAITLISTED", "CONFIRMED", "CHECKED_IN"}, {"CANCELLED"}),
    "TokenNoShow": ({"MarkNoShow"}, {"CONFIRMED", "CALLED"}, {"NO_SHOW"}),
    "TokenExpired": ({"CloseSlot"}, {"WAITLISTED"}, {"EXPIRED"}),
}
SOURCE_OF_PROMOTION = {
    "CANCELLATION": "CancelToken",
    "NO_SHOW": "MarkNoShow",
    "CAPACITY_RAISED": "SetSlotCapacity",
    "DOCTOR_AVAILABLE": "SetDoctorAvailability",
    "DOCTOR_REGISTERED": "RegisterDoctor",
    "UPGRADED": "RequestToken",
}


@dataclass
class Place:
    """A token, as far as it was told."""

    pool: PoolKey
    token_no: int
    patient_id: str
    source: Source
    arrival: int
    pin: str | None
    status: str = "NEW"
    doctor_id: str | None = None
    present: bool = False

    @property
    def rank(self) -> tuple[int, int]:
        return self.source.priority, self.arrival

    def suits(self, doctor_id: str) -> bool:
        return self.pin in (None, doctor_id)


@dataclass
class DepartmentBooks:
    """What one department's commands and events add up to."""

    facility_id: str
    department_id: str
    day: int = -1
    sequence: int = 0
    arrivals: int = 0
    last_token_no: dict[str, int] = field(default_factory=dict)
    schedules: dict[str, dict[tuple[str, Weekday], int]] = field(default_factory=dict)
    overrides: dict[SessionKey, int] = field(default_factory=dict)
    away: set[SessionKey] = field(default_factory=set)
    closed: set[PoolKey] = field(default_factory=set)
    pools: dict[PoolKey, dict[str, Place]] = field(default_factory=lambda: defaultdict(dict))
    over_by: dict[SessionKey, int] = field(default_factory=dict)

    def enter(self, command: Command, timestamp_ms: int, events: list[Event]) -> None:
        """Enter a command and what was said to it, and check every invariant that it may have touched."""
        command_type = type(command).__name__
        self.day = max(self.day, day_of_timestamp(timestamp_ms))
        self._forget()
        assert events, "I3: a command without a decision"
        for event in events:
            self.sequence += 1
            assert event.sequence == self.sequence, "I4: sequence has a gap or a repeat"
            data = event.data
            assert (data["facility_id"], data["department_id"]) == (self.facility_id, self.department_id)
            if event.type.startswith("Token"):
                self._enter_token(command, event.type, data)
            elif event.type == "CommandRejected":
                assert len(events) == 1, "a refused command did something"
                assert data["command_type"] == command_type
            else:
                self._enter_setting(event.type, data)
        if events[0].type != "CommandRejected":
            for pool in self._touched(command_type, events):
                self._check_pool(pool, command_type)

    def _forget(self) -> None:
        """R3."""
        for pool in [pool for pool in self.pools if day_of_date(pool[0]) < self.day - 7]:
            del self.pools[pool]

    def _touched(self, command_type: str, events: list[Event]) -> Iterable[PoolKey]:
        if command_type == "RegisterDoctor":
            return list(self.pools)
        return {(event.data["date"], event.data["slot"]) for event in events}

    # What was said of doctors and slots

    def _enter_setting(self, event_type: str, data: dict[str, Any]) -> None:
        match event_type:
            case "DoctorRegistered":
                self.schedules[data["doctor_id"]] = {
                    (entry["slot"], Weekday(weekday)): entry["capacity"]
                    for entry in data["schedule"]
                    for weekday in entry.get("weekdays", Weekday)
                }
                assert len(self.schedules) <= 200
            case "SlotCapacityChanged":
                session = (data["date"], data["slot"], data["doctor_id"])
                self.overrides[session] = data["capacity"]
                tokens = self.pools[session[:2]].values()
                taken = sum(token.doctor_id == data["doctor_id"] and token.status in SEATED for token in tokens)
                assert data["taken"] == taken
                assert data["over_by"] == max(0, data["taken"] - data["capacity"])
            case "DoctorAvailabilityChanged":
                session = (data["date"], data["slot"], data["doctor_id"])
                assert (data["date"], data["slot"]) not in self.closed
                (self.away.discard if data["available"] else self.away.add)(session)
            case "SlotClosed":
                pool = (data["date"], data["slot"])
                assert pool not in self.closed
                self.closed.add(pool)
            case _:
                raise AssertionError(f"no such event: {event_type}")

    # What was said of a token

    def _enter_token(self, command: Command, event_type: str, data: dict[str, Any]) -> None:
        pool = (data["date"], data["slot"])
        assert day_of_date(data["date"]) >= self.day - 7, "R3: a forgotten token is spoken of"
        if event_type in {"TokenConfirmed", "TokenWaitlisted"}:
            self._issue(command, pool, data)
        token = self.pools[pool].get(data["token_id"])
        assert token is not None, "I7: no such token was issued"
        before = (token.status, token.doctor_id, token.source)
        self._check_move(type(command).__name__, event_type, token, data)

        token.status = data["status"]
        token.doctor_id = data["doctor_id"]
        token.source = Source(data["source"])
        token.present = token.present or event_type == "TokenCheckedIn"
        if event_type == "TokenUpgraded":
            assert before[2] is Source(data["from_source"]) is not Source.EMERGENCY
            assert token.source is Source.EMERGENCY
            if token.status == "WAITLISTED":
                assert isinstance(command, RequestToken)
                token.pin = command.data.doctor_id
        else:
            assert token.source is before[2], "I7: the source changed"
        self._check_seat(event_type, token, data, before[1])

    def _issue(self, command: Command, pool: PoolKey, data: dict[str, Any]) -> None:
        assert isinstance(command, RequestToken)
        assert pool not in self.closed, "R19: a seat in a closed pool"
        asked = command.data
        assert (asked.date, asked.slot, asked.patient_id, asked.source) == (*pool, data["patient_id"], data["source"])
        token_no = self.last_token_no[pool[0]] = self.last_token_no.get(pool[0], 0) + 1
        assert data["token_no"] == token_no, "token numbers have a gap or a repeat"
        assert data["token_id"] == token_id(self.facility_id, self.department_id, pool[0], token_no)
        self.arrivals += 1
        self.pools[pool][data["token_id"]] = Place(
            pool, token_no, asked.patient_id, asked.source, self.arrivals, asked.doctor_id
        )

    def _check_move(self, command_type: str, event_type: str, token: Place, data: dict[str, Any]) -> None:
        """I7."""
        causes, found, left = MOVES[event_type]
        status = data["status"]
        assert command_type in causes, f"I7: {event_type} by {command_type}"
        assert token.status in found, f"I7: {event_type} of a {token.status} token"
        assert status in left, f"I7: {event_type} leaves a token {status}"
        assert (data["token_no"], data["patient_id"]) == (token.token_no, token.patient_id), "I7: another token"
        if event_type in {"TokenUpgraded", "TokenReassigned"}:
            assert status == token.status, "I7: the status changed"
        if event_type == "TokenCheckedIn":
            assert not token.present, "I7: checked in twice"
            assert status == ("WAITLISTED" if token.status == "WAITLISTED" else "CHECKED_IN")
        if event_type == "TokenPromoted":
            assert status == ("CHECKED_IN" if token.present else "CONFIRMED"), "R13: present, yet not checked in"
            assert SOURCE_OF_PROMOTION[data["reason"]] == command_type

    def _check_seat(self, event_type: str, token: Place, data: dict[str, Any], doctor_before: str | None) -> None:
        if event_type in {"TokenConfirmed", "TokenPromoted", "TokenReassigned"}:
            assert token.doctor_id is not None
            assert token.suits(token.doctor_id), "R5: another doctor than the pinned one"
            assert self._is_there((*token.pool, token.doctor_id)), "R5: the doctor is not there"
        elif event_type in {"TokenPreempted", "TokenWaitlisted"}:
            assert token.doctor_id is None
        else:
            assert token.doctor_id == doctor_before, "I7: the doctor changed"
        match event_type:
            case "TokenPromoted":
                self._check_order(token)
            case "TokenPreempted":
                assert data["lost_doctor_id"] == doctor_before
                assert ("by_token_id" in data) == (data["reason"] == "EMERGENCY")
            case "TokenReassigned":
                assert data["from_doctor_id"] == doctor_before != token.doctor_id
                assert ("by_token_id" in data) == (data["reason"] == "EMERGENCY")
        if "position" in data:
            ahead = [other for other in self._waiting(token.pool) if other.rank < token.rank]
            assert data["position"] == len(ahead) + 1, "R8: another position"

    def _check_order(self, token: Place) -> None:
        """I5: nobody ahead in the waitlist would have taken that seat."""
        doctor_id = token.doctor_id or ""
        assert not any(other.rank < token.rank and other.suits(doctor_id) for other in self._waiting(token.pool)), (
            "I5: promoted past somebody who waits for the same doctor"
        )

    # What must hold after every command

    def _check_pool(self, pool: PoolKey, command_type: str) -> None:
        tokens = self.pools[pool].values()
        taken = Counter(token.doctor_id for token in tokens if token.status in SEATED)
        for doctor_id in self.schedules:
            session = (*pool, doctor_id)
            over_by = taken[doctor_id] - self._capacity(session)
            if over_by > 0 and command_type not in MAY_RAISE_OVER_BY:
                assert over_by <= self.over_by.get(session, 0), "I1: more seats taken than there are"
            self.over_by[session] = over_by
        patients = [token.patient_id for token in tokens if token.status in ACTIVE]
        assert len(patients) == len(set(patients)), "I2: two active tokens of one patient in a pool"
        waiting = self._waiting(pool)
        if pool in self.closed:
            assert not waiting, "R19: somebody waits in a closed pool"
        elif waiting and day_of_date(pool[0]) >= self.day - 1:
            free = {
                doctor_id
                for doctor_id in self.schedules
                if self._is_there((*pool, doctor_id)) and taken[doctor_id] < self._capacity((*pool, doctor_id))
            }
            wanted = {token.pin for token in waiting}
            assert not (free and None in wanted), "I6: a token waits that an eligible doctor could take"
            assert free.isdisjoint(wanted), "I6: a token waits that its pinned doctor could take"

    def _waiting(self, pool: PoolKey) -> list[Place]:
        return [token for token in self.pools[pool].values() if token.status == "WAITLISTED"]

    def _capacity(self, session: SessionKey) -> int:
        date, slot, doctor_id = session
        scheduled = self.schedules[doctor_id].get((slot, weekday_of(day_of_date(date))), 0)
        return self.overrides.get(session, scheduled)

    def _is_there(self, session: SessionKey) -> bool:
        date, slot, doctor_id = session
        return session not in self.away and (slot, weekday_of(day_of_date(date))) in self.schedules[doctor_id]


class Books:
    """The books of every department."""

    def __init__(self) -> None:
        self.departments: dict[tuple[str, str], DepartmentBooks] = {}

    def enter(self, command: Command, timestamp_ms: int, events: list[Event]) -> None:
        """Enter a command and the events that it caused; an AssertionError names what is broken."""
        key = (command.data.facility_id, command.data.department_id)
        books = self.departments.setdefault(key, DepartmentBooks(*key))
        books.enter(command, timestamp_ms, events)
