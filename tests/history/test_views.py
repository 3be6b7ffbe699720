"""What an analyst reads of a small day that can be counted by hand."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import repeat
from typing import Any

import asyncpg

from schemas.commands import Command
from tests.core.commands import make_command
from tests.core.days import MONDAY_MS
from tests.history.conftest import InDatabase
from tests.history.log import Log, project

MINUTE_MS = 60_000
SLOT = {"date": "2026-11-23", "slot": "09:00-10:00"}
TOKEN = "blr1.cardiology.20261123.{}"  # noqa: S105  no password
DAY: list[tuple[int, str, dict[str, Any]]] = [  # at which minute, what
    (0, "RegisterDoctor", {"doctor_id": "rao", "name": "Rao", "schedule": [{"slot": SLOT["slot"], "capacity": 2}]}),
    (0, "RegisterDoctor", {"doctor_id": "sen", "name": "Sen", "schedule": [{"slot": SLOT["slot"], "capacity": 9}]}),
    (1, "SetDoctorAvailability", {**SLOT, "doctor_id": "sen", "available": False, "reason": "ill"}),
    (2, "RequestToken", {**SLOT, "patient_id": "p1", "source": "PAID"}),
    (3, "RequestToken", {**SLOT, "patient_id": "p2", "source": "ONLINE"}),
    (4, "RequestToken", {**SLOT, "patient_id": "p3", "source": "ONLINE"}),
    (5, "RequestToken", {**SLOT, "patient_id": "p4", "source": "EMERGENCY"}),  # takes p2's seat
    (6, "CheckIn", {"token_id": TOKEN.format(1)}),
    (9, "CheckIn", {"token_id": TOKEN.format(4)}),
    (10, "CallNext", {**SLOT, "doctor_id": "rao"}),  # calls the emergency
    (25, "CallNext", {**SLOT, "doctor_id": "rao"}),  # calls p1, completes the emergency
    (26, "SetSlotCapacity", {**SLOT, "doctor_id": "rao", "capacity": 4}),  # p2 and p3 move up
    (27, "MarkNoShow", {"token_id": TOKEN.format(2)}),
    (28, "CancelToken", {"token_id": TOKEN.format(3)}),
    (29, "RequestToken", {**SLOT, "patient_id": "p9", "source": "WALK_IN", "doctor_id": "sen"}),
    (30, "CloseSlot", SLOT),
    (31, "CancelToken", {"token_id": TOKEN.format(3)}),
]


def _commands() -> Iterator[tuple[Command, int]]:
    for number, (minute, kind, data) in enumerate(DAY):
        where = {"facility_id": "blr1", "department_id": "cardiology"}
        yield make_command(kind, f"c{number}", {**where, **data}), MONDAY_MS + minute * MINUTE_MS


def _ask(in_database: InDatabase, query: str) -> list[tuple[Any, ...]]:
    log = Log()
    log.say(_commands())

    async def run(connection: asyncpg.Connection, schema: str) -> list[tuple[Any, ...]]:
        if not await connection.fetchval("SELECT count(*) FROM positions"):
            await project(connection, schema, log, repeat(4))
        return [tuple(row) for row in await connection.fetch(query)]

    rows: list[tuple[Any, ...]] = in_database(run)
    return rows


def test_no_show_rates(in_database: InDatabase) -> None:
    query = "SELECT source, expected, no_shows, no_show_rate FROM no_show_rates ORDER BY source"
    expected = [("EMERGENCY", 1, 0, Decimal(0)), ("ONLINE", 1, 1, Decimal(1)), ("PAID", 1, 0, Decimal(0))]
    assert _ask(in_database, query) == expected


def test_waits_by_class(in_database: InDatabase) -> None:
    query = "SELECT source, called, median_minutes, longest_minutes FROM waits_by_class ORDER BY source"
    assert _ask(in_database, query) == [("EMERGENCY", 1, Decimal(1), Decimal(1)), ("PAID", 1, Decimal(19), Decimal(19))]


def test_preemptions(in_database: InDatabase) -> None:
    query = "SELECT token_id, source, lost_doctor_id, reason, by_token_id, minutes_without FROM preemptions"
    assert _ask(in_database, query) == [
        (TOKEN.format(2), "ONLINE", "rao", "EMERGENCY", TOKEN.format(4), Decimal(21)),
    ]


def test_utilisation_by_doctor(in_database: InDatabase) -> None:
    query = "SELECT doctor_id, sessions, capacity, taken, seen, no_shows, utilisation FROM doctor_utilisation"
    assert _ask(in_database, query) == [("rao", 1, 4, 2, 2, 1, Decimal("0.5"))]


def test_sessions_and_pools(in_database: InDatabase) -> None:
    sessions = "SELECT doctor_id, works, available, capacity, taken, closed FROM sessions ORDER BY doctor_id"
    assert _ask(in_database, sessions) == [("rao", True, True, 4, 2, True), ("sen", True, False, 9, 0, True)]
    pools = "SELECT closed, doctors, capacity, taken, waiting FROM pools"
    assert _ask(in_database, pools) == [(True, 1, 4, 2, 0)]


def test_daily_numbers(in_database: InDatabase) -> None:
    columns = "tokens, emergencies, waiting, to_be_called, seen, cancelled, no_shows, expired, preemptions"
    assert _ask(in_database, f"SELECT {columns} FROM daily_numbers") == [(5, 1, 0, 0, 2, 1, 1, 1, 1)]  # noqa: S608 - ours


def test_the_story_of_a_token_and_its_moments(in_database: InDatabase) -> None:
    story = f"SELECT type FROM events WHERE token_id = '{TOKEN.format(2)}' ORDER BY sequence"  # noqa: S608 - ours
    types = ["TokenWaitlisted", "TokenPreempted", "TokenPromoted", "TokenNoShow"]
    assert [kind for (kind,) in _ask(in_database, story)] == ["TokenConfirmed", *types[1:]]
    minutes = ", ".join(
        f"extract(minute FROM {moment})::int" for moment in ("requested_at", "seated_at", "checked_in_at", "ended_at")
    )
    moments = f"SELECT {minutes} FROM tokens ORDER BY token_no"  # noqa: S608 - ours
    assert _ask(in_database, moments) == [
        (2, 2, 6, None),
        (3, 3, None, 27),
        (4, 26, None, 28),
        (5, 5, 9, 25),
        (29, None, None, 30),
    ]


def test_what_became_of_a_command(in_database: InDatabase) -> None:
    query = "SELECT accepted, first_event, token_id, reason FROM commands WHERE {}"
    rejected = (False, "CommandRejected", TOKEN.format(3), "INVALID_TRANSITION")
    assert _ask(in_database, query.format("partition = 0 AND command_offset = 16")) == [rejected]
    assert _ask(in_database, query.format("causation_id = 'c16'")) == [rejected]
    away = (True, "DoctorAvailabilityChanged", None, "ill")
    assert _ask(in_database, query.format("causation_id = 'c2'")) == [away]
    assert _ask(in_database, query.format("causation_id = 'c99'")) == []
