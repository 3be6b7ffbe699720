"""One department's day as the screens show it: no patient, no clock, nothing but what events and reads say."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.words import Source

NEXT_SHOWN = 10
_CLASS = {source: number for number, source in enumerate(Source)}
_SEATED = frozenset({"CONFIRMED", "CHECKED_IN", "CALLED", "COMPLETED"})


class Token(NamedTuple):
    """One token as it stands now.

    Attributes:
        number: `token_no`.
        is_present: whether the patient is in the hall, seat or no seat.
        changed_by: the id of the event that touched it last; empty: none since it was read.
    """

    number: int
    slot: str
    source: str
    status: str
    doctor_id: str | None
    is_present: bool
    changed_by: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """Who comes before whom: by class, then arrival (R8, R14)."""
        return _CLASS[Source(self.source)], self.number


@dataclass
class Session:
    """One doctor's seats in one slot."""

    capacity: int
    available: bool


@dataclass
class Day:
    """What is known.

    Attributes:
        doctors: their names by id, in the order of registration.
        sessions: by slot and doctor.
        closed: the slots in which nothing is granted any more.
        tokens: by number.
        as_of: when the last thing happened, RFC 3339; empty: not since it was read.
    """

    doctors: dict[str, str] = field(default_factory=dict)
    sessions: dict[tuple[str, str], Session] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    tokens: dict[int, Token] = field(default_factory=dict)
    as_of: str = ""

    def add_pool(self, pool: Mapping[str, Any]) -> None:
        """Add what the gateway's `GET /pools/…` says."""
        if pool["closed"]:
            self.closed.add(pool["slot"])
        for each in pool["sessions"]:
            self.sessions[pool["slot"], each["doctor_id"]] = Session(each["capacity"], each["available"])

    def add_token(self, token: Mapping[str, Any]) -> None:
        """Add what the gateway's `GET /tokens` says."""
        number, is_present = token["token_no"], "checked_in_at" in token
        doctor_id = token.get("doctor_id") if token["status"] in _SEATED else None
        self.tokens[number] = Token(number, token["slot"], token["source"], token["status"], doctor_id, is_present)

    def take(self, event_id: str, kind: str, time: str, data: Mapping[str, Any]) -> None:
        """Let an event of this date happen; once more is the same as once."""
        self.as_of = time
        if "token_no" in data:
            self._take_token(event_id, kind, data)
        elif kind == "SlotClosed":
            self.closed.add(data["slot"])
        elif kind in {"SlotCapacityChanged", "DoctorAvailabilityChanged"}:
            session = self.sessions.setdefault((data["slot"], data["doctor_id"]), Session(0, available=True))
            session.capacity = data.get("capacity", session.capacity)
            session.available = data.get("available", session.available)

    def _take_token(self, event_id: str, kind: str, data: Mapping[str, Any]) -> None:
        number, status = data["token_no"], data["status"]
        before = self.tokens.get(number)
        is_present = kind == "TokenCheckedIn" or (before is not None and before.is_present)
        doctor_id = data["doctor_id"] if status in _SEATED else None
        self.tokens[number] = Token(number, data["slot"], data["source"], status, doctor_id, is_present, event_id)

    def as_shown(self, rooms: Mapping[str, str]) -> dict[str, Any]:
        """Give what the hall, the desk and the doctors look at.

        Args:
            rooms: by doctor.
        """
        queues = self._queues()
        taken, called = self._seats()
        sessions: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for (slot, doctor_id), session in sorted(self.sessions.items()):
            queue = queues[slot, doctor_id]
            sessions[doctor_id].append(
                {
                    "slot": slot,
                    "closed": slot in self.closed,
                    "available": session.available,
                    "capacity": session.capacity,
                    "taken": taken[slot, doctor_id],
                    "now": called.get((slot, doctor_id)),
                    "next": [token.number for token in queue[:NEXT_SHOWN]],
                    "here": len(queue),
                }
            )
        doctors = [
            {"doctor_id": doctor_id, "name": name, "room": rooms.get(doctor_id, ""), "sessions": sessions[doctor_id]}
            for doctor_id, name in self.doctors.items()
            if doctor_id in sessions
        ]
        return {"doctors": doctors, "slots": self._slots(taken), "as_of": self.as_of}

    def of_tokens(self, numbers: Iterable[int], rooms: Mapping[str, str]) -> dict[int, dict[str, Any]]:
        """Give what those look at who follow these tokens."""
        queues, waiting = self._queues(), self._waitlists()
        _, called = self._seats()
        ahead = {token.number: place for queue in queues.values() for place, token in enumerate(queue)}
        positions = {token.number: place for queue in waiting.values() for place, token in enumerate(queue, 1)}
        return {
            number: self._of_token(self.tokens[number], rooms, queues, called)
            | {"ahead": ahead.get(number), "position": positions.get(number)}
            for number in numbers
            if number in self.tokens
        }

    def _of_token(
        self,
        token: Token,
        rooms: Mapping[str, str],
        queues: Mapping[tuple[str, str], list[Token]],
        called: Mapping[tuple[str, str], int],
    ) -> dict[str, Any]:
        place = (token.slot, token.doctor_id or "")
        session = self.sessions.get(place)
        return {
            "token_no": token.number,
            "slot": token.slot,
            "status": token.status,
            "is_present": token.is_present,
            "doctor": self.doctors.get(token.doctor_id or "", token.doctor_id),
            "room": rooms.get(token.doctor_id or "", ""),
            "doctor_is_there": session is None or session.available,
            "now": called.get(place),
            "here": len(queues.get(place, ())),
            "changed_by": token.changed_by,
        }

    def _queues(self) -> defaultdict[tuple[str, str], list[Token]]:
        """Give who can be called in each session, in order (R14)."""
        queues: defaultdict[tuple[str, str], list[Token]] = defaultdict(list)
        for token in sorted(self.tokens.values(), key=lambda each: each.order):
            if token.status == "CHECKED_IN" and token.doctor_id:
                queues[token.slot, token.doctor_id].append(token)
        return queues

    def _waitlists(self) -> defaultdict[str, list[Token]]:
        """Give who waits for a seat in each slot, in order (R8)."""
        waiting: defaultdict[str, list[Token]] = defaultdict(list)
        for token in sorted(self.tokens.values(), key=lambda each: each.order):
            if token.status == "WAITLISTED":
                waiting[token.slot].append(token)
        return waiting

    def _seats(self) -> tuple[defaultdict[tuple[str, str], int], dict[tuple[str, str], int]]:
        """Give the seats taken, and who is called, in each session."""
        taken: defaultdict[tuple[str, str], int] = defaultdict(int)
        called: dict[tuple[str, str], int] = {}
        for token in self.tokens.values():
            if token.doctor_id:
                taken[token.slot, token.doctor_id] += 1
                if token.status == "CALLED":
                    called[token.slot, token.doctor_id] = token.number
        return taken, called

    def _slots(self, taken: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
        slots: dict[str, dict[str, Any]] = {}
        for (slot, doctor_id), session in sorted(self.sessions.items()):
            shown = slots.setdefault(slot, {"slot": slot, "capacity": 0, "taken": 0, "waiting": 0, "here": 0})
            shown["capacity"] += session.capacity * session.available
            shown["taken"] += taken[slot, doctor_id]
        for token in self.tokens.values():
            if token.slot in slots:
                slots[token.slot]["waiting"] += token.status == "WAITLISTED"
                slots[token.slot]["here"] += token.is_present and token.status in {"CHECKED_IN", "WAITLISTED"}
        return [{**shown, "closed": slot in self.closed} for slot, shown in slots.items()]
