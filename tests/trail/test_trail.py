"""What is noted stays as it was noted: whatever is altered, taken away, moved or cut off is found."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.history.postgres import connect
from services.history.schema import migrate
from services.settings import Settings
from services.stack.ports import free_ports
from services.trail import trail as module
from services.trail.chain import Noted, digest_of
from services.trail.check import BadAnchors, Checked, check
from services.trail.trail import NotNoted, Trail, writing
from tests.servers import Database
from tests.waiting import WITHIN_S

NOTED = Noted(
    time=datetime(2026, 11, 23, 9, 30, 0, 123456, tzinfo=UTC),
    sub="desk-1",
    role="reception",
    method="GET",
    route="/tokens/{token_id}",
    facility_id="blr1",
    department_id="cardiology",
    token_id="blr1.cardiology.20261123.17",  # noqa: S106  no password
    patient=digest_of("blr1", "p-1"),
    status=200,
    command=None,
)


@pytest.fixture
def audited(postgres_server: Database, tmp_path: Path) -> Settings:
    return Settings(
        postgres_url=postgres_server.url,
        audit_schema=f"test_{uuid.uuid4().hex[:12]}",
        audit_anchors=tmp_path / "anchors",
    )


def _written(settings: Settings, count: int, *, by: int = 1, status: int = 200) -> None:
    """Have gateways write so many rows each, all at once."""

    async def gateway(number: int) -> None:
        async with writing(settings) as trail:
            noted = [NOTED._replace(sub=f"desk-{number}", status=status + each) for each in range(count)]
            await asyncio.gather(*[trail.write(each) for each in noted])

    async def all_() -> None:
        await asyncio.gather(*[gateway(number) for number in range(by)])

    asyncio.run(all_())


def _in_database(settings: Settings, run: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        connection = await connect(settings.postgres_url, settings.audit_schema)
        try:
            return await run(connection)
        finally:
            await connection.close()

    return asyncio.run(connected())


def _forge(settings: Settings, *statements: str) -> None:
    """Do what the trigger is against, as an owner of the table can."""

    async def run(connection: asyncpg.Connection) -> None:
        await connection.execute("ALTER TABLE trail DISABLE TRIGGER only_added_to")
        for statement in statements:
            await connection.execute(statement)

    _in_database(settings, run)


def test_rows_of_several_gateways_are_one_chain_in_the_order_in_which_each_wrote(audited: Settings) -> None:
    _written(audited, 30, by=3)
    assert asyncio.run(check(audited)) == Checked(90, 3, None)

    async def rows(connection: asyncpg.Connection) -> list[asyncpg.Record]:
        return await connection.fetch("SELECT * FROM trail ORDER BY number")

    found = _in_database(audited, rows)
    assert [row["number"] for row in found] == list(range(1, 91))
    for number in range(3):
        of_one = [row["status"] for row in found if row["sub"] == f"desk-{number}"]
        assert of_one == [200 + each for each in range(30)]
    assert Noted(*list(found[0])[1:-1])._replace(sub="desk-1", status=200) == NOTED


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trail SET status = 404 WHERE number = 2",
        "DELETE FROM trail",
        "DELETE FROM trail WHERE false",
        "TRUNCATE trail",
    ],
)
def test_the_table_is_only_added_to(audited: Settings, statement: str) -> None:
    _written(audited, 3)
    with pytest.raises(asyncpg.RaiseError, match="the audit trail is only added to"):
        _in_database(audited, lambda connection: connection.execute(statement))
    assert asyncio.run(check(audited)) == Checked(3, 1, None)


SWAPPED = "UPDATE trail SET number = CASE number WHEN -5 THEN 6 ELSE 5 END WHERE number IN (-5, 6)"
FORGERIES = {
    "altered: who": (["UPDATE trail SET sub = 'nobody' WHERE number = 5"], "row 5 is not as it was written"),
    "altered: when": (["UPDATE trail SET time = time + interval '1 us' WHERE number = 5"], "row 5 is not as it was"),
    "altered: whom": (["UPDATE trail SET patient = NULL WHERE number = 5"], "row 5 is not as it was written"),
    "altered: the hash": (["UPDATE trail SET hash = sha256(hash) WHERE number = 5"], "row 5 is not as it was written"),
    "the first removed": (["DELETE FROM trail WHERE number = 1"], "row 1 is missing"),
    "one removed": (["DELETE FROM trail WHERE number = 5"], "row 5 is missing"),
    "one removed, and the gap closed": (
        ["DELETE FROM trail WHERE number = 5", "UPDATE trail SET number = -number WHERE number > 5",
         "UPDATE trail SET number = -number - 1 WHERE number < 0"],
        "row 5 is not as it was written, or not where",
    ),
    "reordered": (["UPDATE trail SET number = -5 WHERE number = 5", SWAPPED], "row 5 is not as it was written, or not"),
    "the last removed": (["DELETE FROM trail WHERE number = 10"], "row 10 is missing: an anchor knows row 10"),
    "the end removed": (["DELETE FROM trail WHERE number > 7"], "row 8 is missing: an anchor knows row 10"),
    "all removed": (["DELETE FROM trail"], "row 1 is missing: an anchor knows row 10"),
    "one put in": (
        ["CREATE TABLE copy AS SELECT * FROM trail WHERE number = 10", "UPDATE copy SET number = 11, sub = 'nobody'",
         "INSERT INTO trail SELECT * FROM copy"],
        "row 11 is not as it was written",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGERIES)
def test_what_was_forged_is_found_and_named(audited: Settings, what: str) -> None:
    _written(audited, 10)
    statements, expected = FORGERIES[what]
    _forge(audited, *statements)
    fault = asyncio.run(check(audited)).fault
    assert fault is not None
    assert fault.startswith(expected)


def test_a_trail_that_was_written_anew_is_not_the_one_of_its_anchors(audited: Settings) -> None:
    _written(audited, 10)
    _forge(audited, "TRUNCATE trail")
    _written(audited.model_copy(update={"audit_anchors": None}), 12, status=400)
    assert asyncio.run(check(audited)).fault == "row 10 is not the one of its anchor: the trail was written anew"


def test_a_row_whose_answer_was_lost_stands_once(audited: Settings) -> None:
    """The commit is done, and its answer does not come: PostgreSQL is asked, and nothing is written twice."""

    async def run() -> int:
        await migrate(audited.postgres_url, audited.audit_schema, module.VERSIONS)
        trail = Trail(audited)
        for _ in range(2):
            trail.add(NOTED)
        connection = await connect(audited.postgres_url, audited.audit_schema)
        await trail._append(connection, [NOTED, NOTED])  # as it is left when the connection breaks in the commit
        trail.add(NOTED)
        for _ in range(2):
            await trail._write_batch(connection)
        await trail.finish()
        await connection.close()
        return (await check(audited.model_copy(update={"audit_anchors": None}))).rows

    assert asyncio.run(run()) == 3


def test_without_postgres_a_row_that_must_stand_is_refused_in_time(
    audited: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITTEN_WITHIN_S", 0.1)
    nobody = audited.model_copy(update={"postgres_url": f"postgresql://opd@127.0.0.1:{free_ports(1)[0]}/opd"})

    async def run() -> None:
        async with writing(nobody) as trail:
            with pytest.raises(NotNoted):
                await trail.write(NOTED)
            trail.add(NOTED)
            assert not trail.is_full
            monkeypatch.setattr(module, "MAX_WAITING", 2)
            assert trail.is_full

    asyncio.run(run())


def test_it_goes_on_when_postgres_comes_back_whether_it_was_there_before_or_not(
    audited: Settings, postgres_server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITTEN_WITHIN_S", WITHIN_S)  # it has just been started

    async def run() -> None:
        postgres_server.kill()
        async with writing(audited) as trail:
            trail.add(NOTED)
            await asyncio.to_thread(postgres_server.start)
            await trail.write(NOTED)
            await asyncio.to_thread(postgres_server.kill)
            trail.add(NOTED)
            await asyncio.to_thread(postgres_server.start)
            await trail.write(NOTED)

    asyncio.run(run())
    assert asyncio.run(check(audited)) == Checked(4, 1, None)


@pytest.mark.parametrize("text", ["1\n", "1 zz now\n", "one 00 now\n"])
def test_anchors_that_are_none_are_refused(audited: Settings, text: str) -> None:
    assert audited.audit_anchors is not None
    audited.audit_anchors.write_text(text)
    with pytest.raises(BadAnchors, match=r"cannot be read: .*\ntry: OPD_AUDIT_ANCHORS"):
        asyncio.run(check(audited))
