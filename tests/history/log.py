"""A log of events as the model makes it, and what must be in PostgreSQL after it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import asyncpg

from allocation_core.calendar import date_of_day
from allocation_core.model import Department, Model
from schemas.commands import Command
from schemas.wire import command_key, write_events, written
from services.history.rows import Rows
from services.history.store import Batch, load, write

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

TOPIC = "events"


class Record(NamedTuple):
    """As much of a record of the events topic as the projector looks at."""

    offset: int
    key: bytes | None
    value: bytes | None


class Log:
    """What the engine says to commands, and the state that it is in then.

    Attributes:
        model: as it is behind the last command.
        records: by partition.
        tokens: by token_id, the data of its last event; of forgotten ones too.
        times_preempted: by token_id.
        types: how many events there are of each.
    """

    def __init__(self, partitions: int = 1) -> None:
        self.model = Model()
        self.records: dict[int, list[Record]] = {number: [] for number in range(partitions)}
        self.tokens: dict[str, dict[str, Any]] = {}
        self.times_preempted: Counter[str] = Counter()
        self.types: Counter[str] = Counter()
        self._commands = dict.fromkeys(range(partitions), 0)
        self._partition_of: dict[bytes, int] = {}

    def say(self, commands: Iterable[tuple[Command, int]]) -> None:
        """Decide commands, each in its department's partition."""
        for command, timestamp_ms in commands:
            key = command_key(command)
            partition = self._partition_of.setdefault(key, len(self._partition_of) % len(self.records))
            events = self.model.decide(command, timestamp_ms)
            offset = self._commands[partition]
            self._commands[partition] += 1
            for value in write_events(partition, offset, timestamp_ms, command, [written(event) for event in events]):
                self.append(partition, key, value)
            for event in events:
                self.types[event.type] += 1
                if event.type != "CommandRejected" and "token_id" in event.data:
                    self.tokens[event.data["token_id"]] = event.data
                    self.times_preempted[event.data["token_id"]] += event.type == "TokenPreempted"

    def append(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Append a record, whatever it is."""
        records = self.records[partition]
        records.append(Record(len(records), key, value))

    def repeat_some(self, rng: Random) -> None:
        """Append old records again behind newer ones, as an owner that lost its partition may."""
        for partition, records in self.records.items():
            again = list(records)
            self.records[partition] = []
            for place, record in enumerate(again):
                self.append(partition, record.key, record.value)
                if rng.random() < 0.02:
                    for old in again[max(0, place - rng.randrange(30)) : place + 1]:
                        self.append(partition, old.key, old.value)


async def project(connection: asyncpg.Connection, schema: str, log: Log, cuts: Iterator[int]) -> None:
    """Take what is not kept yet into PostgreSQL, in batches of these sizes."""
    partitions = await load(connection, TOPIC, len(log.records))
    while True:
        batch = Batch(Rows(), [], {})
        for partition in partitions:
            before = partition.position.next_offset
            if records := log.records[partition.number][before : before + next(cuts)]:
                partition.take(cast("list[ConsumerRecord[bytes, bytes]]", records), batch.rows)
                batch.departments.extend(partition.departments())
                batch.moved[partition.number] = (before, partition.position)
        if not batch.moved:
            return
        await write(connection, schema, batch)


async def differences(connection: asyncpg.Connection, log: Log) -> list[str]:
    """Say where PostgreSQL is not what follows from the log: by numbers alone."""
    found = {row["token_id"]: row for row in await connection.fetch("SELECT * FROM tokens")}
    wrong = [f"token {token_id} is there or missing" for token_id in found.keys() ^ log.tokens.keys()]
    for token_id in found.keys() & log.tokens.keys():
        wrong += _differing(f"token {token_id}", _token_of(log, token_id), found[token_id])
    types = await connection.fetch("SELECT type, count(*) FROM events GROUP BY type")
    counted = {row["type"]: row["count"] for row in types}
    wrong += [] if counted == log.types else [f"events are {counted}, not {log.types}"]
    sessions = {
        (row["facility_id"], row["department_id"], f"{row['date']}", row["slot"], row["doctor_id"]): row
        for row in await connection.fetch("SELECT * FROM sessions")
    }
    for department in log.model.departments.values():
        wrong += _differing_sessions(department, sessions)
        wrong += await _differing_department(connection, department)
    return wrong


def _token_of(log: Log, token_id: str) -> dict[str, Any]:
    said = log.tokens[token_id]
    facility_id, department_id, _, token_no = token_id.split(".")
    expected = {
        "facility_id": facility_id,
        "department_id": department_id,
        "token_no": int(token_no),
        "times_preempted": log.times_preempted[token_id],
        "status": str(said["status"]),
        **{name: said[name] for name in ("slot", "patient_id", "source", "doctor_id")},
    }
    token = log.model.departments[facility_id, department_id].tokens.get(token_id)
    if token is not None:
        session = token.session
        assert (token.status, token.source) == (said["status"], said["source"])
        assert (session and session.doctor.doctor_id) == said["doctor_id"]
        expected["present"] = token.present
    return expected


def _differing(what: str, expected: Mapping[str, Any], row: asyncpg.Record) -> list[str]:
    found = {**row, "present": row["checked_in_at"] is not None}
    return [f"{what}: {name}" for name, value in expected.items() if found[name] != value]


def _differing_sessions(department: Department, found: Mapping[Any, asyncpg.Record]) -> Iterator[str]:
    """Compare the sessions of dates that decisions can still be made for; those of earlier dates stand still."""
    for pool in department.pools.values():
        said_something = (
            pool.tokens or pool.closed or any(s.overridden or not s.available for s in pool.sessions.values())
        )
        if pool.day < department.day - 1 or not said_something:
            continue
        for doctor_id, session in pool.sessions.items():
            where = (department.facility_id, department.department_id, pool.date, pool.slot, doctor_id)
            row = found.get(where)
            expected = (session.works, session.available, session.taken, pool.closed)
            if row is None:
                if session.works or session.taken:
                    yield f"session {where} is missing"
                continue
            if (row["works"], row["available"], row["taken"], row["closed"]) != expected:
                yield f"session {where}"
            if session.works and row["capacity"] != session.capacity:
                yield f"capacity of {where}"


async def _differing_department(connection: asyncpg.Connection, department: Department) -> list[str]:
    where = (department.facility_id, department.department_id)
    of_it = "WHERE facility_id = $1 AND department_id = $2"
    known = await connection.fetchrow(f"SELECT sequence, day FROM departments {of_it}", *where)  # noqa: S608 - ours
    doctors = await connection.fetch(
        f"SELECT doctor_id FROM doctors {of_it} ORDER BY first_sequence",  # noqa: S608 - ours
        *where,
    )
    expected = (department.sequence, date_of_day(department.day), list(department.doctors))
    found = (known and known["sequence"], known and f"{known['day']}", [row["doctor_id"] for row in doctors])
    return [] if found == expected else [f"department {where} is {found}, not {expected}"]
