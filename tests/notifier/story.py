"""Events as the model makes them, for the outbox."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from schemas.events import AnyEvent, read_event
from services.notifier import outbox
from services.notifier.notices import notices_of
from tests.core.commands import make_command
from tests.history.log import Log

WHERE = {"facility_id": "blr1", "department_id": "cardiology"}
DATE, SLOT = "2026-11-23", "09:00-10:00"
POOL = {"date": DATE, "slot": SLOT}
NINE_MS = 1_795_424_400_000  # 2026-11-23T09:00:00Z
TOPIC = "events"


def token(number: int) -> str:
    return f"blr1.cardiology.20261123.{number}"


class Story:
    """What is asked of the engine, and the events that the outbox has not taken yet."""

    def __init__(self) -> None:
        self.log = Log()
        self._commands = 0
        self._taken = 0

    def ask(self, kind: str, **data: Any) -> "Story":
        """Ask for something, a second after the last."""
        self._commands += 1
        command = make_command(kind, f"c{self._commands}", {**WHERE, **data})
        self.log.say([(command, NINE_MS + self._commands * 1000)])
        return self

    def open(self, capacity: int, *doctors: str) -> "Story":
        for doctor_id in doctors or ("dr-rao",):
            schedule = [{"slot": SLOT, "capacity": capacity}]
            self.ask("RegisterDoctor", doctor_id=doctor_id, name=f"Dr {doctor_id[3:].title()}", schedule=schedule)
        return self

    def book(self, *patients: str, source: str = "ONLINE") -> "Story":
        for patient_id in patients:
            self.ask("RequestToken", **POOL, patient_id=patient_id, source=source)
        return self

    def check_in(self, *numbers: int) -> "Story":
        for number in numbers:
            self.ask("CheckIn", token_id=token(number))
        return self

    def call_next(self) -> "Story":
        return self.ask("CallNext", **POOL, doctor_id="dr-rao")

    def new_events(self) -> Sequence[AnyEvent]:
        records = self.log.records[0][self._taken :]
        self._taken = len(self.log.records[0])
        return [read_event(record.value or b"") for record in records]

    async def told_to(self, connection: asyncpg.Connection, *, soon_before: int = 2) -> None:
        """Have the outbox take what it has not taken yet, in one transaction."""
        places = await outbox.load(connection, TOPIC, 1)
        events, at = self.new_events(), places[0].next_offset
        await outbox.take(connection, 0, (at, at + len(events)), [], notices_of(events), soon_before=soon_before)


async def states(connection: asyncpg.Connection) -> list[tuple[str, str, str]]:
    """Give kind, patient and state of all messages, in their order."""
    rows = await connection.fetch("SELECT kind, patient_id, state FROM messages ORDER BY id")
    return [(row["kind"], row["patient_id"], row["state"]) for row in rows]
