"""The vault in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import structlog

from services.history.postgres import LOST
from services.history.schema import migrate
from services.settings import Settings
from services.vault.contact import Contact
from services.vault.keys import MasterKeys, Wrapped, new_key, patient_id_of, read_master_keys, seal, unseal

_log = structlog.stdlib.get_logger(__name__)

VERSIONS = Path(__file__).parent / "migrations" / "versions"
DEVELOPMENT_KEY_FILE = Path(".opd") / "vault.key"

_CONNECTIONS = 4
_ANSWERS_WITHIN_S = 5.0
_SHREDS_WITHIN_S = 600.0

_FACILITY_KEY = "SELECT master_id, wrapped FROM facility_keys WHERE facility_id = $1"
_NEW_FACILITY_KEY = "INSERT INTO facility_keys VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_CONTACT = """
    SELECT master_id, wrapped, sealed FROM contacts JOIN patient_keys USING (facility_id, patient_id)
    WHERE facility_id = $1 AND patient_id = $2
"""
# Of two that write one patient's first contact, one makes the key, and the other one waits for it.
_PATIENT_KEY = """
    INSERT INTO patient_keys AS known VALUES ($1, $2, $3, $4)
    ON CONFLICT (facility_id, patient_id) DO UPDATE SET wrapped = known.wrapped
    RETURNING master_id, wrapped
"""
_KEEP = """
    INSERT INTO contacts VALUES ($1, $2, $3)
    ON CONFLICT (facility_id, patient_id) DO UPDATE SET sealed = excluded.sealed
"""
_ERASE = "DELETE FROM {table} WHERE facility_id = $1 AND patient_id = $2 RETURNING 1"


class VaultUnavailable(Exception):  # noqa: N818  it is what it is
    """PostgreSQL does not answer: the same may work later."""


class Erased(NamedTuple):
    """What an erasure destroyed: how many keys, how many contacts."""

    keys: int
    contacts: int


class Vault:
    """Contacts by facility and patient_id, and patient_ids by the hospital's numbers.

    Every method raises `VaultUnavailable` while PostgreSQL is away, and `Unreadable` where keys and rows do not belong
    together. No error repeats what it was about.
    """

    def __init__(self, settings: Settings, pool: asyncpg.Pool, master: MasterKeys) -> None:
        """`opening` makes one."""
        self._settings, self._pool, self._master = settings, pool, master
        self._facility_keys: dict[str, bytes] = {}
        self._is_migrated = False
        self._one_at_a_time = asyncio.Lock()

    async def patient_id(self, facility_id: str, number: str) -> str:
        """Give the opaque patient_id of a hospital's patient number: always the same one."""
        key = self._facility_keys.get(facility_id)
        if key is None:
            key = self._facility_keys[facility_id] = await self._facility_key(facility_id)
        return patient_id_of(key, facility_id, number)

    async def contact(self, facility_id: str, patient_id: str) -> Contact | None:
        """Give how a patient is reached; None if that is not known, or no longer."""
        async with self._connection() as connection:
            row = await connection.fetchrow(_CONTACT, facility_id, patient_id)
        return None if row is None else self._read(row, facility_id, patient_id)

    async def keep(self, facility_id: str, patient_id: str, contact: Contact) -> Contact:
        """Keep a contact in place of a former one; give it as kept, with the moment of the consent.

        A consent that stands already keeps its moment.
        """
        owner = _owner(facility_id, patient_id)
        async with self._connection() as connection, connection.transaction():
            fresh = self._master.wrap(new_key(), owner)
            wrapped = await connection.fetchrow(_PATIENT_KEY, facility_id, patient_id, *fresh)
            key = self._unwrap(wrapped, owner)
            row = await connection.fetchrow(_CONTACT, facility_id, patient_id)
            former = None if row is None else self._read(row, facility_id, patient_id)
            kept = contact.model_copy(update={"consent_since": _consent_since(contact, former)})
            text = kept.model_dump_json(exclude_none=True).encode()
            await connection.execute(_KEEP, facility_id, patient_id, seal(key, text, owner))
        return kept

    async def erase(self, facility_id: str, patient_id: str) -> Erased:
        """Destroy a patient's key and contact; one of whom nothing is known is erased already."""
        async with self._connection() as connection, connection.transaction():
            # The key's row first, as `keep` does: they would else wait for each other.
            keys = await connection.fetch(_ERASE.format(table="patient_keys"), facility_id, patient_id)
            contacts = await connection.fetch(_ERASE.format(table="contacts"), facility_id, patient_id)
        return Erased(len(keys), len(contacts))

    async def shred(self) -> None:
        """Write the keys' table anew, so that destroyed keys stand no more in its file; readers wait for it."""
        async with self._connection() as connection:
            await connection.execute("VACUUM (FULL) patient_keys", timeout=_SHREDS_WITHIN_S)

    async def rewrap(self) -> int:
        """Wrap all keys by the newest master key, so that former ones can go; give how many were not."""
        changed = 0
        async with self._connection() as connection, connection.transaction():
            for table, columns in (("facility_keys", "facility_id"), ("patient_keys", "facility_id, patient_id")):
                rows = await connection.fetch(
                    f"SELECT master_id, wrapped, {columns} FROM {table} WHERE master_id <> $1 FOR UPDATE",  # noqa: S608  ours
                    self._master.newest_id,
                )
                for master_id, wrapped, *whose in rows:
                    owner = _owner(*whose)
                    again = self._master.wrap(self._master.unwrap(Wrapped(master_id, wrapped), owner), owner)
                    where = " AND ".join(f"{name} = ${n}" for n, name in enumerate(columns.split(", "), 3))
                    await connection.execute(
                        f"UPDATE {table} SET master_id = $1, wrapped = $2 WHERE {where}",  # noqa: S608  ours
                        *again,
                        *whose,
                    )
                changed += len(rows)
        return changed

    async def _facility_key(self, facility_id: str) -> bytes:
        async with self._connection() as connection:
            fresh = self._master.wrap(new_key(), _owner(facility_id))
            await connection.execute(_NEW_FACILITY_KEY, facility_id, *fresh)
            wrapped = await connection.fetchrow(_FACILITY_KEY, facility_id)
        return self._unwrap(wrapped, _owner(facility_id))

    def _unwrap(self, row: Any, owner: str) -> bytes:
        return self._master.unwrap(Wrapped(row["master_id"], row["wrapped"]), owner)

    def _read(self, row: asyncpg.Record, facility_id: str, patient_id: str) -> Contact:
        owner = _owner(facility_id, patient_id)
        return Contact.model_validate_json(unseal(self._unwrap(row, owner), row["sealed"], owner))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        try:
            await self._make_the_schema()
            async with self._pool.acquire(timeout=_ANSWERS_WITHIN_S) as connection:
                yield connection
        except LOST as error:
            # Not its text, and not as its cause: it may quote what was asked for.
            _log.warning("the vault's PostgreSQL does not answer", error=type(error).__name__)
            raise VaultUnavailable("the vault's PostgreSQL does not answer") from None

    async def _make_the_schema(self) -> None:
        """Make it when it is needed first: PostgreSQL may be away when a service starts."""
        if self._is_migrated:
            return
        async with self._one_at_a_time:
            if not self._is_migrated:
                await migrate(self._settings.vault_address, self._settings.vault_schema, VERSIONS)
                self._is_migrated = True


@asynccontextmanager
async def opening(settings: Settings, *, make_key: bool = False) -> AsyncIterator[Vault]:
    """Give the vault that the settings name; its PostgreSQL may come and go meanwhile.

    Args:
        settings: where it is, and where its key is.
        make_key: in development: make the key file if there is none, and say so.

    Raises:
        BadKeyFile: there is no key.
    """
    file = settings.vault_key_file or DEVELOPMENT_KEY_FILE
    master, made = read_master_keys(file, make=make_key)
    if made:
        _log.warning("made the vault's master key, for development: whoever has it reads the vault", file=str(file))
    pool = asyncpg.create_pool(
        settings.vault_address,
        min_size=0,
        max_size=_CONNECTIONS,
        timeout=_ANSWERS_WITHIN_S,
        command_timeout=_ANSWERS_WITHIN_S,
        server_settings={"search_path": settings.vault_schema, "application_name": "opd-vault", "timezone": "UTC"},
    )
    async with pool:
        try:
            yield Vault(settings, pool, master)
        finally:
            pool.terminate()


def _owner(*whose: str) -> str:
    return "/".join(whose)


def _consent_since(contact: Contact, former: Contact | None) -> datetime | None:
    if not contact.consent:
        return None
    if former is not None and former.consent_since is not None:
        return former.consent_since
    return datetime.now(UTC).replace(microsecond=0)
