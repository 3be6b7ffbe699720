"""Where the peers' PostgreSQL is, and how it is made empty."""

import os

import asyncpg

URL = "BENCH_POSTGRES_URL"


def postgres_url() -> str:
    """Where it is, for a peer."""
    return os.environ[URL]


async def empty(url: str) -> None:
    """Drop every table and function."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()
