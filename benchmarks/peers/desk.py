"""One department on dictionaries: the rules that the benchmark's commands need, and no others."""

from bisect import bisect_left, insort
from typing import Any

from allocation_core.calendar import token_id

CLASSES = {"EMERGENCY": 1, "PAID": 2, "FOLLOW_UP": 3, "ONLINE": 4, "WALK_IN": 5}
Data = dict[str, Any]
Said = list[tuple[str, Data]]


class Token:
    """A patient's place in a pool."""

    __slots__ = (
        "arrival",
        "date",
        "doctor_id",
        "patient_id",
        "slot",
        "source",
        "status",
        "times_preempted",
        "token_no",
    )

    def __init__(self, date: str, slot: str, token_no: int, arrival: int, patient_id: str, source: str) -> None:  # noqa: PLR0913, PLR0917  its columns
        self.date = date
        self.slot = slot
        self.token_no = token_no
        self.arrival = arrival
        self.patient_id = patient_id
        self.source = source
        self.status = "WAITLISTED"
        self.doctor_id: str | None = None
        self.times_preempted = 0


class Pool:
    """A slot of a date: taken and capacity by doctor in the order of registration, and two ordered lines."""

    def __init__(self, capacities: dict[str, int]) -> None:
        self.capacities = capacities
        self.taken = dict.fromkeys(capacities, 0)
        self.patients: set[str] = set()
        self.waiting: list[tuple[int, int, Token]] = []
        self.confirmed: list[tuple[int, int, int, Token]] = []

    def free_doctor(self) -> str | None:
        """The least loaded (R5)."""
        free = [doctor_id for doctor_id, taken in self.taken.items() if taken < self.capacities[doctor_id]]
        return min(free, key=lambda each: (self.taken[each] / self.capacities[each], self.taken[each]), default=None)

    def seat(self, token: Token, doctor_id: str) -> None:
        """Give it a seat."""
        token.status, token.doctor_id = "CONFIRMED", doctor_id
        self.taken[doctor_id] += 1
        insort(self.confirmed, (-CLASSES[token.source], token.times_preempted, -token.arrival, token))

    def wait(self, token: Token) -> int:
        """Let it wait; gives its position (R8)."""
        token.status, token.doctor_id = "WAITLISTED", None
        place = (CLASSES[token.source], token.arrival, token)
        position = bisect_left(self.waiting, place)
        self.waiting.insert(position, place)
        return position + 1

    def leave(self, token: Token) -> None:
        """Take it off its seat, or out of the waitlist."""
        if token.doctor_id is None:
            del self.waiting[bisect_left(self.waiting, (CLASSES[token.source], token.arrival))]
        else:
            self.taken[token.doctor_id] -= 1
            rank = (-CLASSES[token.source], token.times_preempted, -token.arrival)
            del self.confirmed[bisect_left(self.confirmed, rank)]


class Desk:
    """One department."""

    def __init__(self, facility_id: str, department_id: str) -> None:
        self.facility_id = facility_id
        self.department_id = department_id
        self.sequence = 0
        self.arrivals = 0
        self.schedules: dict[str, dict[str, int]] = {}
        self.token_nos: dict[str, int] = {}
        self.pools: dict[tuple[str, str], Pool] = {}
        self.tokens: dict[str, Token] = {}
        self.changed: dict[str, Token] = {}

    def decide(self, command_type: str, data: Data) -> Said:
        """Decide one command; give the types and data of its events. `changed` gathers the tokens touched."""
        match command_type:
            case "opd.RequestToken.v1":
                return self._request(data)
            case "opd.CancelToken.v1":
                return self._cancel(data)
            case _:
                self.schedules[data["doctor_id"]] = {each["slot"]: each["capacity"] for each in data["schedule"]}
                return [("DoctorRegistered", data)]

    def _request(self, data: Data) -> Said:
        date, slot, patient_id = data["date"], data["slot"], data["patient_id"]
        if not self.schedules:
            return self._reject("RequestToken", "DEPARTMENT_UNKNOWN")
        pool = self.pool(date, slot)
        if pool is None:
            return self._reject("RequestToken", "SLOT_UNKNOWN")
        if patient_id in pool.patients:
            return self._reject("RequestToken", "DUPLICATE_PATIENT")

        self.arrivals += 1
        token_no = self.token_nos[date] = self.token_nos.get(date, 0) + 1
        token = Token(date, slot, token_no, self.arrivals, patient_id, data["source"])
        self.tokens[self._id(token)] = token
        pool.patients.add(patient_id)
        doctor_id = pool.free_doctor()
        said: Said = []
        if doctor_id is None and token.source == "EMERGENCY" and pool.confirmed and pool.confirmed[0][0] != -1:
            victim = pool.confirmed[0][-1]
            pool.leave(victim)
            doctor_id = victim.doctor_id
            victim.times_preempted += 1
            position = pool.wait(victim)
            why = {"lost_doctor_id": doctor_id, "reason": "EMERGENCY", "by_token_id": self._id(token)}
            said.append(self._of("TokenPreempted", victim, position=position, **why))
        if doctor_id is None:
            return [self._of("TokenWaitlisted", token, position=pool.wait(token))]
        pool.seat(token, doctor_id)
        return [*said, self._of("TokenConfirmed", token)]

    def _cancel(self, data: Data) -> Said:
        token = self.tokens.get(data["token_id"])
        if token is None:
            return self._reject("CancelToken", "TOKEN_UNKNOWN", token_id=data["token_id"])
        if token.status == "CANCELLED":
            return self._reject("CancelToken", "INVALID_TRANSITION", token_id=data["token_id"])

        pool = self.pools[token.date, token.slot]
        pool.leave(token)
        pool.patients.remove(token.patient_id)
        token.status = "CANCELLED"
        said = [self._of("TokenCancelled", token)]
        if token.doctor_id is not None:
            while pool.waiting and (doctor_id := pool.free_doctor()):
                first = pool.waiting.pop(0)[-1]
                pool.seat(first, doctor_id)
                said.append(self._of("TokenPromoted", first, reason="CANCELLATION"))
        return said

    def pool(self, date: str, slot: str) -> Pool | None:
        """The pool of a slot; None where nobody works it."""
        pool = self.pools.get((date, slot))
        if pool is None:
            capacities = {doctor: slots[slot] for doctor, slots in self.schedules.items() if slot in slots}
            if capacities:
                pool = self.pools[date, slot] = Pool(capacities)
        return pool

    def put_back(self, token: Token) -> None:
        """Put a stored token where it was."""
        self.tokens[self._id(token)] = token
        pool = self.pool(token.date, token.slot)
        if token.status == "CANCELLED" or pool is None:
            return
        pool.patients.add(token.patient_id)
        if token.doctor_id is None:
            pool.wait(token)
        else:
            pool.seat(token, token.doctor_id)

    def _of(self, event_type: str, token: Token, **more: object) -> tuple[str, Data]:
        name = self._id(token)
        self.changed[name] = token
        return event_type, {
            "facility_id": self.facility_id,
            "department_id": self.department_id,
            "date": token.date,
            "slot": token.slot,
            "token_id": name,
            "token_no": token.token_no,
            "patient_id": token.patient_id,
            "source": token.source,
            "status": token.status,
            "doctor_id": token.doctor_id,
            **more,
        }

    def _reject(self, command_type: str, reason: str, **more: str) -> Said:
        where = {"facility_id": self.facility_id, "department_id": self.department_id}
        return [("CommandRejected", {**where, "command_type": command_type, "reason": reason, **more})]

    def _id(self, token: Token) -> str:
        return token_id(self.facility_id, self.department_id, token.date, token.token_no)
