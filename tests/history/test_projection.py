"""What is in PostgreSQL is what follows from the log, however it was cut and whatever stands in it twice."""

from itertools import repeat
from random import Random
from typing import Any

import asyncpg
import pytest

from services.history.partition import Position
from services.history.rows import Rows
from services.history.store import Batch, OtherLog, Overtaken, load, write
from tests.core.commands import make_command
from tests.core.days import MONDAY_MS, TEXTS, random_commands
from tests.history.conftest import InDatabase
from tests.history.log import TOPIC, Log, differences, project

CARDIOLOGY = {"facility_id": "blr1", "department_id": "cardiology"}
KEY = b"blr1/cardiology"


def test_random_days_leave_what_the_model_is_left_with(in_database: InDatabase) -> None:
    rng = Random(6)
    log = Log(partitions=3)
    log.say(random_commands(seed=6, count=6000))
    log.repeat_some(rng)

    async def run(connection: asyncpg.Connection, schema: str) -> list[str]:
        await project(connection, schema, log, iter(lambda: rng.choice([1, 7, 400, 1500]), None))
        assert await connection.fetchval("SELECT count(*) FROM faults") == 0
        return await differences(connection, log)

    assert in_database(run) == []
    assert {"TokenPreempted", "TokenReassigned", "TokenExpired", "SlotClosed", "TokenUpgraded"} <= log.types.keys()


def test_it_does_not_matter_where_the_log_was_cut(in_database: InDatabase) -> None:
    log = Log()
    log.say(random_commands(seed=7, count=900))

    async def run(connection: asyncpg.Connection, schema: str) -> tuple[Any, Any]:
        await project(connection, schema, log, repeat(3))
        one = await _all_tables(connection)
        tables = ", ".join(one)
        await connection.execute(f"TRUNCATE {tables}")
        await project(connection, schema, log, repeat(10_000))
        return one, await _all_tables(connection)

    one, other = in_database(run)
    assert one == other
    assert sum(map(len, one.values())) > 1200


async def _all_tables(connection: asyncpg.Connection) -> dict[str, list[str]]:
    names = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'alembic_version'"
    )
    return {
        name: sorted(map(repr, await connection.fetch(f"SELECT * FROM {name}")))  # noqa: S608 - our own
        for (name,) in names
    }


HOSTILE = [*TEXTS, "'; DROP TABLE tokens; --", "\\x00\\N\\.", "\t\r\n\v", "{}[],:\"'", "\U0001f600" * 200, "%s $1 ?"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_kept_as_it_is(in_database: InDatabase, text: str) -> None:
    slot = {"date": "2026-11-23", "slot": "09:00-10:00"}
    schedule = [{"slot": slot["slot"], "capacity": 1}]
    commands: list[tuple[str, dict[str, Any]]] = [
        ("RegisterDoctor", {"doctor_id": "a", "name": text, "schedule": schedule}),
        ("RequestToken", {**slot, "patient_id": text[:64], "source": "ONLINE"}),
        ("SetDoctorAvailability", {**slot, "doctor_id": "a", "available": False, "reason": text}),
        ("CancelToken", {"token_id": "blr1.cardiology.20261123.1", "reason": text}),
    ]
    log = Log()
    log.say(
        (make_command(kind, f"{number}{text}"[:64], {**CARDIOLOGY, **data}), MONDAY_MS)
        for number, (kind, data) in enumerate(commands)
    )

    async def run(connection: asyncpg.Connection, schema: str) -> list[str]:
        await project(connection, schema, log, repeat(100))
        queries = [
            "SELECT name FROM doctors",
            "SELECT patient_id FROM tokens",
            "SELECT data ->> 'reason' FROM department_events WHERE type = 'DoctorAvailabilityChanged'",
            "SELECT reason FROM token_events WHERE type = 'TokenCancelled'",
            "SELECT causation_id FROM events WHERE type = 'TokenCancelled'",
        ]
        return [await connection.fetchval(query) for query in queries]

    assert in_database(run) == [text, text[:64], text, text, f"3{text}"[:64]]


def test_what_is_missed_or_no_event_is_told_and_holds_nobody_up(in_database: InDatabase) -> None:
    log = Log()
    log.say(random_commands(seed=8, count=300))
    whole = log.records[0]
    key = whole[50].key
    missed = next(place for place in range(51, len(whole)) if whole[place].key == key)
    log.records[0] = []
    for place, record in enumerate(whole):
        if place == 20:
            log.append(0, b"k", b"no event")
            log.append(0, KEY, None)
            log.append(0, record.key, (record.value or b"").replace(b'"causationid":"', b'"causationid":"\\u0000'))
        if place != missed:
            log.append(0, record.key, record.value)
    forged = whole[-1].value or b""
    log.append(0, whole[-1].key, forged.replace(b'"specversion":"1.0"', b'"specversion":"1.0","x":1'))

    async def run(connection: asyncpg.Connection, schema: str) -> tuple[list[tuple[int, str]], int]:
        await project(connection, schema, log, repeat(17))
        faults = await connection.fetch("SELECT event_offset, fault FROM faults ORDER BY event_offset")
        return [tuple(row) for row in faults], await connection.fetchval("SELECT count(*) FROM events")

    faults, events = in_database(run)
    assert [offset for offset, _ in faults[:3]] == [20, 21, 22]
    assert "events missed: " in faults[3][1]
    assert "stands again with other bytes" in faults[4][1]
    assert len(faults) == 5
    assert events == len(whole) - 1


LARGE = b"9" * 30
FORGED = {
    "an offset": (b'"id":"0-', b'"id":"0-' + LARGE),
    "a partition": (b'"id":"0-', b'"id":"' + LARGE + b"-"),
    "a number of an event": (b'-0","source":"opd', b"-" + LARGE + b'","source":"opd'),
    "a number of thousands of digits": (b'"id":"0-', b'"id":"0-' + b"9" * 5000),
    "a token's number": (b'"token_no":', b'"token_no":' + LARGE),
    "a place in the waitlist": (b'"position":', b'"position":' + LARGE),
    "seats taken": (b'"taken":', b'"taken":1' + b"0" * 400),
    "a month": (b'"time":"2026-11', b'"time":"2026-99'),
    "a year": (b'"time":"2026', b'"time":"0000'),
    "another partition": (b'"id":"0-', b'"id":"1-'),
}


def test_an_event_that_no_allocator_says_is_a_fault_and_holds_nobody_up(in_database: InDatabase) -> None:
    log = Log()
    log.say(random_commands(seed=8, count=900))
    whole, left = log.records[0], dict(FORGED)
    forged_at: dict[str, int] = {}
    log.records[0] = []
    for place, record in enumerate(whole):
        value = record.value or b""
        what = next((what for what, (genuine, _) in left.items() if genuine in value), None)
        if what is not None and place > 30 + 3 * len(forged_at):
            forged_at[what] = len(log.records[0])
            log.append(0, record.key, value.replace(*left.pop(what), 1))
        log.append(0, record.key, value)
    assert left == {}

    async def run(connection: asyncpg.Connection, schema: str) -> tuple[set[int], int]:
        await project(connection, schema, log, repeat(100))
        faults = await connection.fetch("SELECT event_offset FROM faults")
        return {row["event_offset"] for row in faults}, await connection.fetchval("SELECT count(*) FROM events")

    faults, events = in_database(run)
    assert {what for what, offset in forged_at.items() if offset not in faults} == set()
    # What takes a genuine event's number takes its place, too; the others cost nothing.
    assert events >= len(whole) - len(faults - set(forged_at.values()))
    assert len(faults) <= len(FORGED) + 1


def test_an_events_id_stands_once_and_a_pool_closes_once_whatever_a_forger_says(in_database: InDatabase) -> None:
    log = Log()
    slot = {"date": "2026-11-23", "slot": "09:00-10:00"}
    doctor: dict[str, Any] = {"doctor_id": "a", "name": "A", "schedule": [{"slot": slot["slot"], "capacity": 1}]}
    commands: list[tuple[str, dict[str, Any]]] = [("RegisterDoctor", doctor), ("CloseSlot", slot)]
    log.say((make_command(kind, f"{n}", {**CARDIOLOGY, **data}), MONDAY_MS) for n, (kind, data) in enumerate(commands))
    closed = log.records[0][-1].value or b""
    log.append(0, KEY, closed.replace(b'"0-1-0"', b'"0-2-0"').replace(b'"0000000000000002"', b'"0000000000000003"'))
    stolen = closed.replace(b"cardiology", b"dermatology").replace(b'"0000000000000002"', b'"0000000000000001"')
    log.append(0, b"blr1/dermatology", stolen)
    gap_and_more = closed.replace(b'"0-1-0"', b'"0-0-0"').replace(b'"0000000000000002"', b'"0000000000000009"')
    log.append(0, KEY, gap_and_more)

    async def run(connection: asyncpg.Connection, schema: str) -> tuple[list[tuple[int, str]], int]:
        await project(connection, schema, log, repeat(100))
        faults = await connection.fetch("SELECT event_offset, fault FROM faults ORDER BY event_offset")
        return [tuple(row) for row in faults], await connection.fetchval("SELECT count(*) FROM closed_pools")

    faults, closed_pools = in_database(run)
    assert faults[0] == (3, "its id is another event's")
    assert faults[1][0] == 4
    assert "events missed" in faults[1][1]
    assert closed_pools == 1


def test_a_token_that_a_forger_issues_again_holds_nobody_up(in_database: InDatabase) -> None:
    log = Log()
    slot = {"date": "2026-11-23", "slot": "09:00-10:00"}
    doctor: dict[str, Any] = {"doctor_id": "a", "name": "A", "schedule": [{"slot": slot["slot"], "capacity": 9}]}
    asked = [("RequestToken", {**slot, "patient_id": f"p{n}", "source": "ONLINE"}) for n in range(2)]
    commands = [("RegisterDoctor", doctor), *asked]
    log.say((make_command(kind, f"{n}", {**CARDIOLOGY, **data}), MONDAY_MS) for n, (kind, data) in enumerate(commands))
    again = (
        (log.records[0][1].value or b"")
        .replace(b'"0-1-0"', b'"0-3-0"')
        .replace(b'"0000000000000002"', b'"0000000000000004"')
    )
    log.append(0, KEY, again.replace(b'"p0"', b'"p7"').replace(b'"ONLINE"', b'"PAID"'))

    async def run(connection: asyncpg.Connection, schema: str) -> list[tuple[Any, ...]]:
        await project(connection, schema, log, repeat(2))
        query = "SELECT token_no, patient_id, source, sequence FROM tokens ORDER BY token_no"
        return [tuple(row) for row in await connection.fetch(query)]

    assert in_database(run) == [(1, "p0", "PAID", 4), (2, "p1", "ONLINE", 3)]


def test_whoever_was_overtaken_writes_nothing(in_database: InDatabase) -> None:
    log = Log()
    log.say(random_commands(seed=9, count=50))

    async def run(connection: asyncpg.Connection, schema: str) -> int:
        [slow] = await load(connection, TOPIC, 1)
        await project(connection, schema, log, repeat(1000))
        rows = Rows()
        slow.take(log.records[0][:10], rows)
        with pytest.raises(Overtaken):
            await write(connection, schema, Batch(rows, list(slow.departments()), {0: (0, slow.position)}))
        kept: int = await connection.fetchval("SELECT count(*) FROM events")
        return kept

    assert in_database(run) == sum(log.types.values())


def test_the_position_of_another_topic_is_refused(in_database: InDatabase) -> None:
    async def run(connection: asyncpg.Connection, _schema: str) -> list[Position]:
        for topic, partitions in (("other", 2), (TOPIC, 1)):
            await load(connection, TOPIC, 2)
            with pytest.raises(OtherLog, match="holds the history of another log"):
                await load(connection, topic, partitions)
        return [partition.position for partition in await load(connection, TOPIC, 2)]

    assert in_database(run) == [Position(), Position()]


def test_a_transaction_that_fails_leaves_nothing_of_itself(in_database: InDatabase) -> None:
    log = Log()
    log.say(random_commands(seed=10, count=200))

    async def run(connection: asyncpg.Connection, schema: str) -> list[str]:
        await connection.execute("ALTER TABLE tokens ADD CONSTRAINT broken CHECK (token_no < 5) NOT VALID")
        with pytest.raises(asyncpg.CheckViolationError):
            await project(connection, schema, log, repeat(1000))
        assert await connection.fetchval("SELECT count(*) FROM events") == 0
        await connection.execute("ALTER TABLE tokens DROP CONSTRAINT broken")
        await project(connection, schema, log, repeat(1000))
        return await differences(connection, log)

    assert in_database(run) == []
