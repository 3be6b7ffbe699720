"""One department's day as it goes: everybody acts on their plan and on what the engine has answered so far.

There is no chance here: the same plan and the same answers give the same commands, to the byte.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from heapq import heappop, heappush
from typing import Any, NamedTuple, TypeVarTuple

from pydantic_core import to_json

from schemas.words import Source, Status
from services.simulator.day import (
    MINUTE_MS,
    OPENS_MS,
    SLOTS,
    Day,
    DepartmentPlan,
    Doctor,
    Incident,
    Patient,
    clock_ms,
    slot_starts_ms,
)

Ts = TypeVarTuple("Ts")

_SECOND_MS = 1000
_PEAK = "10:00-11:00"
_COUNTER = {
    Source.EMERGENCY: "ambulance/bay",
    Source.PAID: "portal/app",
    Source.FOLLOW_UP: "desk/front",
    Source.ONLINE: "portal/web",
    Source.WALK_IN: "kiosk/lobby",
}


class Posting(NamedTuple):
    """A record to be sent to the commands topic.

    Attributes:
        due_ms: when, in milliseconds since the day's midnight.
        id: the command's id; empty where there is none.
        type: `RequestToken`, …, or `unreadable` for one that is no command.
    """

    due_ms: int
    id: str
    type: str
    key: bytes
    value: bytes | None


@dataclass(eq=False)
class Visit:
    """A patient's way through one slot, as far as the engine has told."""

    patient: Patient
    slot: str
    token_id: str | None = None
    token_no: int = 0
    status: Status | None = None
    doctor_id: str | None = None
    present: bool = False
    refused: bool = False
    came_ms: int | None = None


@dataclass(eq=False)
class Room:
    """Where a doctor sits: who is in, and whether the next one is being called."""

    patient_in: Visit | None = None
    calling: bool = False
    queues: defaultdict[str, set[Visit]] = field(default_factory=lambda: defaultdict(set))

    def next_slot(self, now_ms: int) -> str | None:
        """Give the first slot begun that somebody sits waiting for."""
        return min(
            (slot for slot, queue in self.queues.items() if queue and slot_starts_ms(slot) <= now_ms), default=None
        )


class Department:
    """One department's day.

    Attributes:
        waits_ms: how long each patient called had waited since they checked in.
    """

    def __init__(self, day: Day, plan: DepartmentPlan) -> None:
        self.waits_ms: list[int] = []
        self._day, self._plan = day, plan
        self._key = f"{day.facility_id}/{plan.department_id}".encode()
        self._agenda: list[tuple[int, int, Callable[[int], None]]] = []
        self._entries = self._commands = 0
        self._now_ms = OPENS_MS
        self._outbox: list[Posting] = []
        self._visits: dict[tuple[str, str], Visit] = {}
        self._tokens: dict[str, Visit] = {}
        self._rooms: defaultdict[str, Room] = defaultdict(Room)
        self._asked: dict[str, Visit] = {}
        self._called: dict[str, str] = {}
        self._begins_ms: dict[str, int] = {}
        self._slowness = {doctor.doctor_id: doctor.slowness for doctor in plan.doctors}
        self._plan_doctors()
        self._plan_patients()
        self._plan_slots()
        self._plan_incidents()
        self._plan_noise()

    @property
    def next_ms(self) -> int | None:
        """When somebody acts next; None when the day is over."""
        return self._agenda[0][0] if self._agenda else None

    def act(self, until_ms: int) -> list[Posting]:
        """Let everybody act whose time comes before `until_ms`, and give what they send."""
        while self._agenda and self._agenda[0][0] < until_ms:
            due_ms, _, action = heappop(self._agenda)
            action(due_ms)
        self._now_ms = until_ms
        outbox, self._outbox = self._outbox, []
        return sorted(outbox, key=lambda posting: posting.due_ms)

    def learn(self, event: Mapping[str, Any]) -> None:
        """Take in an event of this department, in the topic's order."""
        kind, data = event["type"][4:-3], event["data"]
        if kind == "CommandRejected":
            self._learn_refusal(event["causationid"], data["reason"])
        elif "token_id" in data:
            self._learn_token(kind, data)

    # What is planned.

    def _plan_doctors(self) -> None:
        for doctor in self._plan.doctors:
            self._at(OPENS_MS, self._register, doctor)
            doctor_id, first = doctor.doctor_id, doctor.sessions[0].slot
            for session in doctor.sessions:
                starts_ms = slot_starts_ms(session.slot)
                self._at(starts_ms, self._call, doctor_id)
            if doctor.late_ms:
                self._begins_ms[doctor_id] = slot_starts_ms(first) + doctor.late_ms
                self._at(self._begins_ms[doctor_id], self._call, doctor_id)
            else:
                early_ms = slot_starts_ms(first) - 10 * MINUTE_MS
                self._at(early_ms, self._call_slot, doctor_id, first)

    def _plan_patients(self) -> None:
        for patient in self._plan.patients:
            visit = self._visits[patient.patient_id, patient.slot] = Visit(patient, patient.slot)
            self._at(patient.asks_ms, self._ask, visit)
            if patient.cancels_ms is not None:
                self._at(patient.cancels_ms, self._cancel, visit)
            if patient.comes_ms is not None:
                self._at(patient.comes_ms, self._come, visit)
            else:
                missed_ms = slot_starts_ms(patient.slot) + 25 * MINUTE_MS
                self._at(missed_ms, self._miss, visit)

    def _plan_slots(self) -> None:
        for slot, closing_ms in self._plan.closing_ms.items():
            data = {"date": self._day.day, "slot": slot}
            self._at(closing_ms, self._send, "CloseSlot", "desk/front", data)
        late = self._request("p-too-late", SLOTS[0], Source.WALK_IN)
        self._at(self._plan.closing_ms[SLOTS[0]] + 3 * MINUTE_MS, self._send, "RequestToken", "kiosk/lobby", late)
        for slot, minutes in ((SLOTS[0], 40), (SLOTS[1], 20)):
            self._at(slot_starts_ms(slot) + minutes * MINUTE_MS, self._collapse, slot)

    def _plan_incidents(self) -> None:
        plans = {
            Incident.DOCTOR_LATE: self._plan_late_doctor,
            Incident.DOCTOR_LEAVES: self._plan_leaving_doctor,
            Incident.CAPACITY_RAISED: self._plan_more_seats,
            Incident.CAPACITY_LOWERED: self._plan_fewer_seats,
        }
        for incident in Incident:
            if incident in self._plan.incidents:
                plans[incident]()

    def _plan_late_doctor(self) -> None:
        doctor_id = self._plan.doctors[0].doctor_id
        data = {"doctor_id": doctor_id, "date": self._day.day, "slot": SLOTS[0]}
        away = {**data, "available": False, "reason": "held up in theatre"}
        self._at(clock_ms("08:40"), self._send, "SetDoctorAvailability", "admin/roster", away)
        back = {**data, "available": True}
        self._at(clock_ms("09:35"), self._send, "SetDoctorAvailability", "admin/roster", back)

    def _plan_leaving_doctor(self) -> None:
        doctor_id = self._plan.doctors[-1].doctor_id
        data = {"doctor_id": doctor_id, "date": self._day.day, "available": False, "reason": "called away"}
        self._at(clock_ms("11:10"), self._send, "SetDoctorAvailability", "admin/roster", data)
        self._at(clock_ms("11:30"), self._register, self._plan.helper)

    def _plan_more_seats(self) -> None:
        doctor = self._plan.doctors[0]
        self._at(clock_ms("10:10"), self._send, "SetSlotCapacity", "admin/roster", self._capacity(doctor, 2))
        shorter = Doctor(doctor.doctor_id, doctor.name, [*doctor.sessions[:-1]])
        self._at(clock_ms("13:00"), self._register, shorter)

    def _plan_fewer_seats(self) -> None:
        doctor = self._plan.doctors[0]
        self._at(clock_ms("08:20"), self._send, "SetSlotCapacity", "admin/roster", self._capacity(doctor, -2))

    def _capacity(self, doctor: Doctor, more: int) -> dict[str, Any]:
        capacity = next(session.capacity for session in doctor.sessions if session.slot == _PEAK)
        capacity = min(500, max(0, capacity + more))
        return {"doctor_id": doctor.doctor_id, "date": self._day.day, "slot": _PEAK, "capacity": capacity}

    def _plan_noise(self) -> None:
        """What no engine is spared: mistakes that are refused, and records that are no commands at all."""
        mine = slice(self._plan.number, None, self._day.departments)
        for nth, (kind, data) in enumerate(self._mistakes()[mine]):
            self._at(clock_ms("08:00") + nth * 10 * MINUTE_MS, self._send, kind, "desk/front", data)
        for nth, (key, value) in enumerate(self._unreadable()[mine]):
            due_ms = clock_ms("09:05") + nth * 17 * MINUTE_MS
            self._at(due_ms, self._post, Posting(due_ms, "", "unreadable", key, value))

        if self._plan.number == 0:
            used = self._envelope(
                self._command_id(1), "SetSlotCapacity", "admin/roster", self._capacity(self._plan.doctors[0], 1)
            )
            due_ms = clock_ms("08:05")
            self._at(due_ms, self._post, Posting(due_ms, used["id"], "SetSlotCapacity", self._key, to_json(used)))

    def _mistakes(self) -> list[tuple[str, dict[str, Any]]]:
        today = date.fromisoformat(self._day.day)
        asked = self._request("p-mistaken", SLOTS[3], Source.ONLINE)
        return [
            ("RequestToken", {**asked, "slot": "03:00-04:00"}),
            ("RequestToken", {**asked, "doctor_id": "dr-nobody"}),
            ("RequestToken", {**asked, "date": str(today - timedelta(days=9))}),
            ("RequestToken", {**asked, "date": str(today + timedelta(days=400))}),
            ("CancelToken", {"token_id": f"{self._day.facility_id}.{self._plan.department_id}.20000101.1"}),
            ("CallNext", {"doctor_id": "dr-nobody", "date": self._day.day, "slot": SLOTS[3]}),
            ("RequestToken", {**asked, "department_id": "homeopathy"}),
        ]

    def _unreadable(self) -> list[tuple[bytes, bytes | None]]:
        command = self._envelope("unreadable", "CloseSlot", "kiosk/broken", {"date": self._day.day, "slot": SLOTS[6]})
        data = command["data"]
        return [
            (self._key, b'{"specversion":"1.0","id":"cut o'),
            (self._key, None),
            (f"{self._day.facility_id}/elsewhere".encode(), to_json(command)),
            (self._key, to_json({**command, "data": {**data, "colour": "blue"}})),
            (self._key, to_json({**command, "type": "opd.OpenSlot.v1"})),
            (self._key, to_json({**command, "padding": " " * 17_000})),
        ]

    # What people do.

    def _register(self, doctor: Doctor, due_ms: int) -> None:
        schedule = [
            {"slot": session.slot, "capacity": session.capacity}
            | ({} if session.weekdays is None else {"weekdays": session.weekdays})
            for session in doctor.sessions
        ]
        data = {"doctor_id": doctor.doctor_id, "name": doctor.name, "schedule": schedule}
        self._send("RegisterDoctor", "admin/roster", data, due_ms)

    def _ask(self, visit: Visit, due_ms: int) -> None:
        patient = visit.patient
        data = self._request(patient.patient_id, visit.slot, patient.source, patient.pin)
        posting = self._send("RequestToken", _COUNTER[patient.source], data, due_ms)
        self._asked[posting.id] = visit
        if patient.sent_again:
            again = posting._replace(due_ms=due_ms + 8 * _SECOND_MS)
            self._at(again.due_ms, self._post, again)
        if patient.books_twice:
            self._at(due_ms + 10 * MINUTE_MS, self._send, "RequestToken", "portal/app", data)

    def _cancel(self, visit: Visit, due_ms: int) -> None:
        if visit.status in {Status.WAITLISTED, Status.CONFIRMED} and not visit.present:
            data = {"token_id": visit.token_id, "reason": "cannot come"}
            self._send("CancelToken", _COUNTER[visit.patient.source], data, due_ms)

    def _come(self, visit: Visit, due_ms: int) -> None:
        if visit.status is None and not visit.refused:
            self._at(due_ms + MINUTE_MS, self._come, visit)
        elif visit.status in {Status.WAITLISTED, Status.CONFIRMED} and not visit.present:
            visit.came_ms = due_ms
            self._send("CheckIn", "kiosk/lobby", {"token_id": visit.token_id}, due_ms)
            if visit.patient.taps_twice:
                self._send("CheckIn", "kiosk/lobby", {"token_id": visit.token_id}, due_ms + 2 * _SECOND_MS)

    def _miss(self, visit: Visit, due_ms: int) -> None:
        """The desk gives up on somebody; one who waits for a seat is looked at again later."""
        if visit.status is Status.CONFIRMED:
            self._send("MarkNoShow", "desk/front", {"token_id": visit.token_id}, due_ms)
        elif visit.status is Status.WAITLISTED and due_ms < self._plan.closing_ms[visit.slot]:
            self._at(due_ms + 10 * MINUTE_MS, self._miss, visit)

    def _collapse(self, slot: str, due_ms: int) -> None:
        """Whoever has waited longest, in a seat or for one, becomes an emergency (R4a)."""
        ordinary = [
            visit
            for visit in self._tokens.values()
            if visit.slot == slot and visit.present and visit.patient.source is not Source.EMERGENCY
        ]
        for status in (Status.WAITLISTED, Status.CHECKED_IN):
            visits = [visit for visit in ordinary if visit.status is status]
            if visits:
                visit = min(visits, key=lambda visit: visit.token_no)
                data = self._request(visit.patient.patient_id, slot, Source.EMERGENCY)
                self._send("RequestToken", "desk/triage", data, due_ms)
                return

    def _call(self, doctor_id: str, due_ms: int) -> None:
        if due_ms < self._begins_ms.get(doctor_id, 0):
            return
        room = self._rooms[doctor_id]
        slot = room.next_slot(due_ms)
        if slot is not None and room.patient_in is None and not room.calling:
            self._call_slot(doctor_id, slot, due_ms)

    def _call_slot(self, doctor_id: str, slot: str, due_ms: int) -> None:
        self._rooms[doctor_id].calling = True
        data = {"doctor_id": doctor_id, "date": self._day.day, "slot": slot}
        self._called[self._send("CallNext", f"room/{doctor_id}", data, due_ms).id] = doctor_id

    def _finish(self, doctor_id: str, visit: Visit, due_ms: int) -> None:
        room = self._rooms[doctor_id]
        if room.patient_in is not visit:
            return
        if visit.patient.ended_by_next_call and room.queues[visit.slot]:
            self._call_slot(doctor_id, visit.slot, due_ms)
        else:
            self._complete(doctor_id, visit, due_ms)

    def _complete(self, doctor_id: str, visit: Visit, due_ms: int) -> None:
        self._send("CompleteConsultation", f"room/{doctor_id}", {"token_id": visit.token_id}, due_ms)

    # What people are told.

    def _learn_refusal(self, command_id: str, reason: str) -> None:
        if reason == "DUPLICATE_COMMAND":
            return
        visit = self._asked.pop(command_id, None)
        if visit is not None and visit.token_id is None:
            visit.refused = True
        doctor_id = self._called.pop(command_id, None)
        if doctor_id is not None:
            room = self._rooms[doctor_id]
            room.calling = False
            if room.patient_in is not None:
                self._complete(doctor_id, room.patient_in, self._now_ms)

    def _learn_token(self, kind: str, data: Mapping[str, Any]) -> None:
        visit = self._tokens.get(data["token_id"]) or self._visits.get((data["patient_id"], data["slot"]))
        if visit is None or data["date"] != self._day.day:
            return  # somebody else's: this may not be the only one who sends
        visit.token_id, visit.token_no = data["token_id"], data["token_no"]
        self._tokens[data["token_id"]] = visit
        self._move(visit, Status(data["status"]), data["doctor_id"])
        match kind:
            case "TokenCheckedIn":
                visit.present = True
            case "TokenCalled":
                self._begin(visit)
            case "TokenCompleted" | "TokenNoShow":
                self._end(visit)
            case "TokenExpired":
                self._try_later_slot(visit)
            case _:
                pass

    def _move(self, visit: Visit, status: Status, doctor_id: str | None) -> None:
        if visit.status is Status.CHECKED_IN and visit.doctor_id is not None:
            self._rooms[visit.doctor_id].queues[visit.slot].discard(visit)
        visit.status, visit.doctor_id = status, doctor_id
        if status is Status.CHECKED_IN and doctor_id is not None:
            self._rooms[doctor_id].queues[visit.slot].add(visit)
            self._at(self._now_ms, self._call, doctor_id)

    def _begin(self, visit: Visit) -> None:
        doctor_id = visit.doctor_id or ""
        room = self._rooms[doctor_id]
        room.calling, room.patient_in = False, visit
        if visit.came_ms is not None:
            self.waits_ms.append(self._now_ms - visit.came_ms)
        if visit.patient.wanders_off:
            data = {"token_id": visit.token_id}
            self._at(self._now_ms + 3 * MINUTE_MS, self._send, "MarkNoShow", f"room/{doctor_id}", data)
        else:
            ends_ms = self._now_ms + round(visit.patient.consultation_ms * self._slowness.get(doctor_id, 1.0))
            self._at(ends_ms, self._finish, doctor_id, visit)

    def _end(self, visit: Visit) -> None:
        doctor_id = visit.doctor_id or ""
        room = self._rooms[doctor_id]
        if room.patient_in is visit:
            room.patient_in = None
            self._at(self._now_ms + visit.patient.pause_ms, self._call, doctor_id)

    def _try_later_slot(self, visit: Visit) -> None:
        later = [slot for slot in SLOTS if slot > visit.slot and (visit.patient.patient_id, slot) not in self._visits]
        if not (visit.patient.tries_later_slot and visit.present and later):
            return
        again = self._visits[visit.patient.patient_id, later[0]] = Visit(visit.patient, later[0])
        self._at(self._now_ms + MINUTE_MS, self._ask, again)
        self._at(self._now_ms + 3 * MINUTE_MS, self._come, again)

    # How it is said.

    def _at(self, due_ms: int, action: Callable[[*Ts, int], object], *about: *Ts) -> None:
        """Have something done later, or next if its time is past; the action is told when, after all else."""

        def act(then_ms: int) -> None:
            action(*about, then_ms)

        heappush(self._agenda, (max(due_ms, self._now_ms), self._entries, act))
        self._entries += 1

    def _post(self, posting: Posting, due_ms: int) -> None:
        self._outbox.append(posting._replace(due_ms=due_ms))

    def _send(self, kind: str, sender: str, data: Mapping[str, Any], due_ms: int) -> Posting:
        self._commands += 1
        command_id = self._command_id(self._commands)
        envelope = self._envelope(command_id, kind, sender, data)
        key = f"{self._day.facility_id}/{envelope['data']['department_id']}".encode()
        posting = Posting(due_ms, command_id, kind, key, to_json(envelope))
        self._outbox.append(posting)
        return posting

    def _command_id(self, number: int) -> str:
        return f"{self._day.run}-{self._plan.department_id}-{number}"

    def _envelope(self, command_id: str, kind: str, sender: str, data: Mapping[str, Any]) -> dict[str, Any]:
        where = {"facility_id": self._day.facility_id, "department_id": self._plan.department_id}
        return {
            "specversion": "1.0",
            "id": command_id,
            "source": sender,
            "type": f"opd.{kind}.v1",
            "data": {**where, **data},
        }

    def _request(self, patient_id: str, slot: str, source: Source, pin: str | None = None) -> dict[str, Any]:
        data = {"date": self._day.day, "slot": slot, "patient_id": patient_id, "source": source.value}
        return data if pin is None else {**data, "doctor_id": pin}
