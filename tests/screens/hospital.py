"""A hospital whose staff and patients are played over HTTP: what the pages are looked at with."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import count
from typing import Any

import httpx

SLOTS = ("09:00-10:00", "10:00-11:00", "11:00-12:00")
NAMES = (
    "Dr Asha Rao",
    "Dr Imran Siddiqui",
    "Dr Lakshmi Venkatasubramanian-Krishnamurthy Iyengar",
    "डॉ. सुनीता कुलकर्णी",
    "ڈاکٹر عائشہ رحمٰن",
    "Dr Meera Iyer",
)


TEN = 10
SEATS = 5  # of a doctor in a slot
MOST_WEST = 12  # of the time zones


def where_it_is_ten() -> str:
    """Give the time zone in which it is ten o'clock in the morning: hospitals open at any time of day."""
    west = datetime.now(UTC).hour - TEN
    return f"Etc/GMT{west if west <= MOST_WEST else west - 24:+d}"


class Hospital:
    """One facility, driven as its staff would.

    Attributes:
        facility_id: its name.
        day: the date that all is about.
    """

    def __init__(self, http: httpx.Client, facility_id: str, day: date) -> None:
        """The client talks to a gateway, as somebody who may do everything."""
        self.facility_id, self.day = facility_id, f"{day}"
        self._http = http
        self._patients = count(1)

    def register(self, department_id: str, names: Sequence[str], *, capacity: int = 4) -> list[str]:
        """Give a department its doctors, who work all slots; gives their ids."""
        doctors = [f"dr-{number}" for number in range(1, len(names) + 1)]
        schedule = [{"slot": slot, "capacity": capacity} for slot in SLOTS]
        for doctor_id, name in zip(doctors, names, strict=True):
            said = {**self._where(department_id), "doctor_id": doctor_id, "name": name, "schedule": schedule}
            self._done(self._http.post("/doctors", json=said))
        return doctors

    def book(self, department_id: str, slot: str = SLOTS[0], source: str = "ONLINE", **more: Any) -> dict[str, Any]:
        """Give a patient a token."""
        pool = {**self._where(department_id), "date": self.day, "slot": slot}
        patient = {"patient_id": f"p-{next(self._patients):05}", "source": source}
        return self._done(self._http.post("/tokens", json={**pool, **patient, **more}))

    def act(self, token: dict[str, Any], what: str) -> dict[str, Any]:
        """Check in, cancel, … a token."""
        return self._done(self._http.post(f"/tokens/{token['token_id']}/{what}"))

    def call(self, department_id: str, doctor_id: str, slot: str = SLOTS[0]) -> dict[str, Any]:
        """Have a doctor call the next."""
        said = {**self._where(department_id), "date": self.day, "slot": slot}
        return self._done(self._http.post(f"/doctors/{doctor_id}/call-next", json=said))

    def leave(self, department_id: str, doctor_id: str, slot: str) -> dict[str, Any]:
        """Have a doctor be away."""
        said = {**self._where(department_id), "date": self.day, "slot": slot, "available": False}
        return self._done(self._http.put(f"/doctors/{doctor_id}/availability", json=said))

    def close(self, department_id: str, slot: str) -> dict[str, Any]:
        """Close a slot."""
        return self._done(
            self._http.post("/slots/close", json={**self._where(department_id), "date": self.day, "slot": slot})
        )

    def morning(self, department_id: str, names: Sequence[str] = NAMES) -> list[dict[str, Any]]:
        """Bring a department to ten o'clock: full, some called, some waiting, one emergency; gives the tokens."""
        doctors = self.register(department_id, names, capacity=SEATS)
        sources = self._sources()
        tokens = [self.book(department_id, SLOTS[0], next(sources)) for _ in range(SEATS * len(doctors) + 2)]
        tokens += [self.book(department_id, SLOTS[1], next(sources)) for _ in range(2 * len(doctors))]
        seated = [token for token in tokens[: SEATS * len(doctors)] if token["status"] == "CONFIRMED"]
        here = [token for number, token in enumerate(seated) if number % 4 != 3]
        for token in here:
            self.act(token, "check-in")
        for doctor_id in 2 * doctors[:-1]:
            self.call(department_id, doctor_id)
        self.act(next(token for token in seated if token not in here), "no-show")
        tokens.append(self.book(department_id, SLOTS[0], "EMERGENCY"))
        for slot in SLOTS:
            self.leave(department_id, doctors[-1], slot)
        return tokens

    def _where(self, department_id: str) -> dict[str, str]:
        return {"facility_id": self.facility_id, "department_id": department_id}

    @staticmethod
    def _sources() -> Iterator[str]:
        while True:
            yield from ("ONLINE", "WALK_IN", "PAID", "FOLLOW_UP", "ONLINE")

    @staticmethod
    def _done(answer: httpx.Response) -> dict[str, Any]:
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found
