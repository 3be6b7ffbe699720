"""A vault of every test's own, in the run's PostgreSQL."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from services.settings import Settings
from services.vault.vault import Vault, opening
from tests.servers import Database

InVault = Callable[[Callable[[Vault], Awaitable[Any]]], Any]


@pytest.fixture
def vault_settings(postgres_server: Database, tmp_path: Path) -> Settings:
    return Settings(
        postgres_url=postgres_server.url,
        vault_schema=f"test_{uuid.uuid4().hex[:12]}",
        vault_key_file=tmp_path / "vault.key",
    )


@pytest.fixture
def in_vault(vault_settings: Settings) -> InVault:
    """Run a coroutine function with the vault, opened anew each time."""

    async def opened(run: Callable[[Vault], Awaitable[Any]]) -> Any:
        async with opening(vault_settings, make_key=True) as vault:
            return await run(vault)

    return lambda run: asyncio.run(opened(run))
