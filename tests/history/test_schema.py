"""The tables and views are made once, led on, described, and left alone where they are newer."""

import asyncio
import re

import asyncpg
import pytest

from services.history.postgres import connect
from services.history.schema import VERSIONS, NewerSchema, migrate
from services.trail import trail
from services.vault import vault
from tests.console import ROOT
from tests.history.conftest import InDatabase
from tests.servers import Database

SAID_OF_ALL = """
    SELECT class.relname, obj_description(class.oid) FROM pg_class AS class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v') AND relname <> 'alembic_version'
"""


def test_two_that_start_together_make_it_once(postgres_server: Database, schema: str) -> None:
    async def both() -> list[str]:
        return await asyncio.gather(*[migrate(postgres_server.url, schema) for _ in range(3)])

    assert asyncio.run(both()) == ["0001"] * 3


def test_schemas_that_are_made_at_once_have_their_own_tables(postgres_server: Database, schema: str) -> None:
    places = {schema: VERSIONS, f"{schema}_vault": vault.VERSIONS, f"{schema}_audit": trail.VERSIONS}
    of_schema = "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename = ANY($2)"

    async def run() -> list[list[str]]:
        await asyncio.gather(*[migrate(postgres_server.url, *place) for place in places.items()])
        connection = await connect(postgres_server.url, "public")
        rows = [await connection.fetch(of_schema, each, ["tokens", "contacts", "trail"]) for each in places]
        await connection.close()
        return [[row["tablename"] for row in found] for found in rows]

    assert asyncio.run(run()) == [["tokens"], ["contacts"], ["trail"]]


def test_a_newer_schema_is_refused_and_left_alone(
    in_database: InDatabase, postgres_server: Database, schema: str
) -> None:
    async def make_newer(connection: asyncpg.Connection, _schema: str) -> None:
        await connection.execute("UPDATE alembic_version SET version_num = '0999'")

    in_database(make_newer)
    with pytest.raises(NewerSchema, match=f"the schema {schema} in PostgreSQL has revision 0999; .* up to 0001\ntry: "):
        asyncio.run(migrate(postgres_server.url, schema))


def test_every_table_and_view_is_described_in_the_database_and_on_the_page(in_database: InDatabase) -> None:
    async def said(connection: asyncpg.Connection, _schema: str) -> list[tuple[str, str | None]]:
        return [tuple(row) for row in await connection.fetch(SAID_OF_ALL)]

    page = (ROOT / "docs" / "history.md").read_text(encoding="utf-8")
    described = in_database(said)
    assert len(described) > 15
    assert [name for name, comment in described if not comment or f"`{name}`" not in page] == []


def test_the_queries_of_the_page_run(in_database: InDatabase) -> None:
    page = (ROOT / "docs" / "history.md").read_text(encoding="utf-8")
    queries = [
        query
        for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
        for query in block.split(";")
        if query.strip()
    ]
    assert len(queries) > 5

    async def run(connection: asyncpg.Connection, _schema: str) -> None:
        for query in queries:
            await connection.fetch(query)

    in_database(run)
