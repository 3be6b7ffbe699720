"""Schemas in PostgreSQL, the history's and others': made and led on by Alembic, never taken back."""

import asyncio
import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from services.errors import OpdError
from services.history.postgres import connect

_MIGRATIONS = Path(__file__).with_name("migrations")
VERSIONS = _MIGRATIONS / "versions"
# Alembic keeps what it works on in its modules: two schemas at once in one process would get each other's tables.
_ONE_AT_A_TIME = threading.Lock()


class NewerSchema(OpdError):  # noqa: N818  it is what it is
    """The schema was made by a later version of `opd`; nothing was touched."""


async def migrate(url: str, schema: str, versions: Path = VERSIONS) -> str:
    """Make the schema, or lead it on to this version's; give its revision.

    Args:
        url: of the PostgreSQL.
        schema: its name there.
        versions: the folder of its versions; the history's if left out.

    Raises:
        NewerSchema: it is ahead of this version.
    """
    return await asyncio.to_thread(_migrate_alone, url, schema, versions)


def _migrate_alone(url: str, schema: str, versions: Path) -> str:
    with _ONE_AT_A_TIME:
        return asyncio.run(_migrate(url, schema, versions))


async def _migrate(url: str, schema: str, versions: Path) -> str:
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: connect(url, schema), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade, schema, versions)
    except DBAPIError as error:
        # SQLAlchemy has names of its own for what asyncpg raised; our callers know asyncpg's (`postgres.LOST`).
        raise (error.orig and error.orig.__cause__) or error from None
    finally:
        await engine.dispose()


async def drop(url: str, schema: str) -> None:
    """Remove a schema and all that is in it."""
    connection = await connect(url, schema)
    try:
        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    finally:
        await connection.close()


def _upgrade(connection: Connection, schema: str, versions: Path) -> str:
    # One at a time: two that start together would both find nothing.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"{schema}: schema"})
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "newline")  # a folder's name may have any other sign in it
    config.set_main_option("version_locations", str(versions))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    ours = str(scripts.get_current_head())
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        raise NewerSchema(
            f"the schema {schema} in PostgreSQL has revision {found}; this version knows those up to {ours}\n"
            "try: the version of opd that made it, or a newer one"
        )
    command.upgrade(config, "head")
    return ours
