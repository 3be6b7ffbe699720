"""What is kept in PostgreSQL: messages, and the position behind their events, in one transaction; each counts once."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
from pydantic_core import from_json, to_json

from schemas.follow import Follower
from services.errors import OpdError
from services.notifier.notices import Kind, Message, Notices

VERSIONS = Path(__file__).parent / "migrations" / "versions"

_KEPT_FOR = timedelta(days=30)
_MOVE_ON = "UPDATE positions SET next_offset = $3 WHERE partition = $1 AND next_offset = $2"
_BEGIN = "INSERT INTO positions VALUES ($1, $2, 0, now()) ON CONFLICT DO NOTHING"
_DEPARTMENT = """
    INSERT INTO departments VALUES ($1, $2, $3::jsonb)
    ON CONFLICT (department) DO UPDATE SET last = excluded.last
"""
_DOCTOR = (
    "INSERT INTO doctors VALUES ($1, $2, $3) ON CONFLICT (department, doctor_id) DO UPDATE SET name = excluded.name"
)
_OVERTAKE = "UPDATE messages SET state = 'OVERTAKEN', ended_at = now() WHERE token_id = ANY($1) AND state = 'DUE'"
_GONE = "DELETE FROM present WHERE token_id = ANY($1)"
# Who goes to another doctor's line has been told already that it is soon.
_PRESENT = """
    INSERT INTO present VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (token_id) DO UPDATE SET doctor_id = excluded.doctor_id, class = excluded.class
"""
_MESSAGE = """
    INSERT INTO messages (event_id, kind, facility_id, patient_id, token_id, sequence, said_at, about)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb) ON CONFLICT DO NOTHING
"""
_NEXT_ONES = """
    SELECT *, before FROM (
        SELECT *, (row_number() OVER (ORDER BY class, token_no) - 1)::int AS before FROM present
        WHERE department = $1 AND doctor_id = $2 AND date = $3 AND slot = $4
        ORDER BY class, token_no LIMIT $5
    ) AS line
    WHERE NOT told_soon
"""
_TOLD_SOON = "UPDATE present SET told_soon = true WHERE token_id = ANY($1)"

# One message of a token is on its way at a time, so nobody is told out of order.
_CLAIM = """
    UPDATE messages SET state = 'SENDING', attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM messages AS due
        WHERE state = 'DUE' AND not_before <= $1
            AND NOT EXISTS (SELECT FROM messages WHERE token_id = due.token_id AND state = 'SENDING')
        ORDER BY id LIMIT $2
    ) AND state = 'DUE'
    RETURNING *
"""
_END = "UPDATE messages SET state = $2, channel = $3, ended_at = now() WHERE id = $1"
_LATER = """
    UPDATE messages SET state = 'DUE', not_before = $2, attempts = CASE WHEN $3 THEN attempts ELSE attempts - 1 END
    WHERE id = $1
"""
_BURY = """
    INSERT INTO dead_letters VALUES ($1, $2, $3)
    ON CONFLICT (message_id) DO UPDATE SET channel = excluded.channel, fault = excluded.fault, died_at = now()
"""
# What was on its way when the notifier was killed may have arrived: it is sent once more, and not a third time.
_ONCE_MORE = "UPDATE messages SET state = 'DUE', repeated = true WHERE state = 'SENDING' AND NOT repeated"
_NO_MORE = "UPDATE messages SET state = 'DEAD', ended_at = now() WHERE state = 'SENDING' RETURNING id, kind"
_OVERTAKE_WHAT_IS_OLD = """
    UPDATE messages AS old SET state = 'OVERTAKEN', ended_at = now()
    WHERE state = 'DUE'
        AND EXISTS (SELECT FROM messages WHERE token_id = old.token_id AND id > old.id AND state <> 'OVERTAKEN')
"""
_FORGET = "DELETE FROM messages WHERE ended_at < $1"
_DEAD = """
    SELECT id, kind, token_id, said_at, attempts, dead.channel, fault, died_at
    FROM messages JOIN dead_letters AS dead ON message_id = id ORDER BY id LIMIT $1
"""
_RESEND = """
    UPDATE messages SET state = 'DUE', not_before = '-infinity', attempts = 0, repeated = false, ended_at = NULL
    WHERE state = 'DEAD' AND ($1::bigint[] IS NULL OR id = ANY($1))
    RETURNING id
"""


class OtherTopic(OpdError):  # noqa: N818  it is what it is
    """The outbox is of another topic: nothing was touched."""


class Overtaken(Exception):  # noqa: N818  it is what happened
    """Somebody else moved the position: what is kept must be looked at anew. Nothing was written."""


class Place(NamedTuple):
    """Where a partition goes on, and since when its events are told."""

    next_offset: int
    since: datetime
    follower: Follower


class Due(NamedTuple):
    """A message on its way.

    Attributes:
        about: as in `Message`, with the doctor's name.
        attempts: this one included.
    """

    id: int
    kind: Kind
    facility_id: str
    patient_id: str
    token_id: str
    said_at: datetime
    about: dict[str, Any]
    attempts: int


async def load(connection: asyncpg.Connection, topic: str, partitions: int) -> dict[int, Place]:
    """Give every partition as far as it is taken; the first time, note that there is nothing yet.

    Raises:
        OtherTopic: what is kept is of another topic.
    """
    async with connection.transaction():
        await connection.executemany(_BEGIN, [(number, topic) for number in range(partitions)])
        positions = await connection.fetch("SELECT * FROM positions ORDER BY partition")
        departments = await connection.fetch("SELECT * FROM departments")
    if len(positions) > partitions or any(row["topic"] != topic for row in positions):
        raise OtherTopic(
            f"this outbox is of {positions[0]['topic']} with {len(positions)} partitions; {topic} has {partitions}\n"
            "try: look whether OPD_POSTGRES_URL, OPD_NOTIFIER_SCHEMA and OPD_EVENTS_TOPIC belong together"
        )
    last: dict[int, dict[str, Any]] = {row["partition"]: {} for row in positions}
    for row in departments:
        last[row["partition"]][row["department"]] = from_json(row["last"])
    return {
        row["partition"]: Place(
            row["next_offset"],
            row["since"],
            Follower({"version": 1, "departments": last[row["partition"]]}),
        )
        for row in positions
    }


async def take(  # noqa: PLR0913  what belongs into one transaction
    connection: asyncpg.Connection,
    partition: int,
    moved: tuple[int, int],
    departments: Iterable[tuple[str, Any]],
    notices: Notices,
    *,
    soon_before: int,
) -> int:
    """Keep what follows from some records of a partition, or nothing; give how many messages are new.

    Args:
        connection: to the outbox.
        partition: of the records.
        moved: the offset that it went on from, and the one behind these records.
        departments: those touched, with their last event as the follower keeps it.
        notices: what follows.
        soon_before: who has so many before them, or fewer, is told that it is soon; 0: nobody.

    Raises:
        Overtaken: the partition is not where it was.
    """
    async with connection.transaction():
        if await connection.execute(_MOVE_ON, partition, *moved) != "UPDATE 1":
            raise Overtaken
        await connection.executemany(
            _DEPARTMENT, [(name, partition, to_json(last).decode()) for name, last in departments]
        )
        await connection.executemany(_DOCTOR, [(*where, name) for where, name in notices.doctors.items()])
        touched = list(notices.touched)
        await connection.execute(_OVERTAKE, touched)
        await connection.execute(_GONE, [token_id for token_id in touched if token_id not in notices.present])
        await connection.executemany(_PRESENT, list(notices.present.values()))
        messages = [*notices.messages.values()]
        if soon_before:
            messages += await _soon(connection, notices, soon_before)
        await connection.executemany(_MESSAGE, [_row(message) for message in messages])
    return len(messages)


async def _soon(connection: asyncpg.Connection, notices: Notices, soon_before: int) -> list[Message]:
    """Give a message to each whose turn comes closer for the first time: somebody before them was called."""
    messages = []
    for session, (event_id, sequence, said_at) in notices.called.items():
        for row in await connection.fetch(_NEXT_ONES, *session, soon_before + 1):
            facility_id, department_id = row["department"].split("/")
            about = {
                "token_no": row["token_no"],
                "department": department_id,
                "doctor_id": row["doctor_id"],
                "date": row["date"],
                "slot": row["slot"],
                "before": row["before"],
            }
            messages.append(
                Message(event_id, Kind.SOON, facility_id, row["patient_id"], row["token_id"], sequence, said_at, about)
            )
    told = [message.token_id for message in messages]
    await connection.execute(_OVERTAKE, told)
    await connection.execute(_TOLD_SOON, told)
    return messages


async def claim(connection: asyncpg.Connection, now: datetime, most: int) -> list[Due]:
    """Take messages whose time has come out of the outbox, the oldest first; they are on their way from now on."""
    rows = await connection.fetch(_CLAIM, now, most)
    names = {
        (row["department"], row["doctor_id"]): row["name"]
        for row in await connection.fetch(
            "SELECT * FROM doctors WHERE department = ANY($1)",
            list({f"{row['facility_id']}/{from_json(row['about'])['department']}" for row in rows}),
        )
    }
    found = []
    for row in sorted(rows, key=lambda row: row["id"]):
        about = from_json(row["about"])
        doctor_id = about.get("doctor_id")
        about["doctor"] = names.get((f"{row['facility_id']}/{about['department']}", doctor_id), doctor_id)
        found.append(
            Due(
                row["id"],
                Kind(row["kind"]),
                row["facility_id"],
                row["patient_id"],
                row["token_id"],
                row["said_at"],
                about,
                row["attempts"],
            )
        )
    return found


async def end(connection: asyncpg.Connection, due: Due, state: str, channel: str | None = None) -> None:
    """Say that a message is done with: sent, or not to be sent."""
    await connection.execute(_END, due.id, state, channel)


async def put_back(connection: asyncpg.Connection, due: Due, until: datetime, *, tried: bool) -> None:
    """Send a message later, unless something newer overtakes it until then."""
    async with connection.transaction():
        await connection.execute(_LATER, due.id, until, tried)
        await connection.execute(f"{_OVERTAKE_WHAT_IS_OLD} AND old.id = $1", due.id)


async def bury(connection: asyncpg.Connection, due: Due, channel: str | None, fault: str) -> None:
    """Give a message up."""
    async with connection.transaction():
        await connection.execute(_END, due.id, "DEAD", channel)
        await connection.execute(_BURY, due.id, channel, fault)


async def recover(connection: asyncpg.Connection) -> tuple[int, list[Kind]]:
    """Take up what was on its way when a notifier was killed; give how many are sent once more, and what is not."""
    async with connection.transaction():
        again = await connection.execute(_ONCE_MORE)
        given_up = await connection.fetch(_NO_MORE)
        await connection.executemany(
            _BURY, [(row["id"], None, "twice on its way when the notifier was killed") for row in given_up]
        )
        await connection.execute(_OVERTAKE_WHAT_IS_OLD)
    return int(again.split()[1]), [Kind(row["kind"]) for row in given_up]


async def forget(connection: asyncpg.Connection, now: datetime) -> None:
    """Forget messages that were done with long ago."""
    await connection.execute(_FORGET, now - _KEPT_FOR)


async def dead(connection: asyncpg.Connection, most: int) -> list[asyncpg.Record]:
    """Give the messages that were given up, the oldest first."""
    return await connection.fetch(_DEAD, most)


async def resend(connection: asyncpg.Connection, ids: list[int] | None) -> int:
    """Give these messages, or all that were given up, another chance; give how many there were."""
    async with connection.transaction():
        rows = await connection.fetch(_RESEND, ids)
        await connection.execute("DELETE FROM dead_letters WHERE message_id = ANY($1)", [row["id"] for row in rows])
        await connection.execute(_OVERTAKE_WHAT_IS_OLD)
    return len(rows)


def _row(message: Message) -> tuple[Any, ...]:
    said_at = datetime.fromisoformat(message.said_at)
    return (*message[:6], said_at, to_json(message.about).decode())
