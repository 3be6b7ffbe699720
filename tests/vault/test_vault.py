"""What is kept of a patient comes back for them alone, stands nowhere in plain bytes, and can be destroyed."""

import asyncio
import base64
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import ValidationError

from services.history.postgres import connect
from services.settings import Settings
from services.stack.ports import free_ports
from services.vault.contact import Contact
from services.vault.keys import BadKeyFile, Unreadable, new_key, read_master_keys
from services.vault.vault import Erased, Vault, VaultUnavailable, opening
from tests.console import opd_here
from tests.servers import Database
from tests.vault.conftest import InVault

ASHA = Contact(
    name="Canary Name", language="hi", email="canary@example.org", phone="+918041234567", consent=True,
    quiet_hours="22:00-07:00",
)  # fmt: skip
SAID = ("Canary", "canary@", "8041234567", "22:00")


async def _tables(settings: Settings) -> dict[str, list[asyncpg.Record]]:
    connection = await connect(settings.postgres_url, settings.vault_schema)
    try:
        return {
            table: await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608  ours
            for table in ("facility_keys", "patient_keys", "contacts")
        }
    finally:
        await connection.close()


def _run_sql(settings: Settings, *statements: str) -> None:
    async def run() -> None:
        connection = await connect(settings.postgres_url, settings.vault_schema)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


def test_a_contact_comes_back_for_its_patient_alone_and_stands_nowhere_in_plain_bytes(
    in_vault: InVault, vault_settings: Settings
) -> None:
    async def run(vault: Vault) -> list[Contact | None]:
        kept = await vault.keep("blr1", "p-1", ASHA)
        found = [await vault.contact(*who) for who in (("blr1", "p-1"), ("blr1", "p-2"), ("blr2", "p-1"))]
        return [kept, *found]

    kept, found, *others = in_vault(run)
    assert kept == found
    assert kept.model_copy(update={"consent_since": None}) == ASHA
    assert timedelta(0) <= datetime.now(UTC) - kept.consent_since < timedelta(minutes=5)
    assert others == [None, None]
    assert in_vault(lambda vault: vault.contact("blr1", "p-1")) == kept, "also when it is opened anew"
    bytes_ = repr(asyncio.run(_tables(vault_settings))).encode()
    assert b"p-1" in bytes_
    assert not [text for text in SAID if text.encode() in bytes_]


def test_a_consent_keeps_its_moment_until_it_is_withdrawn(in_vault: InVault) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)

    async def run(vault: Vault) -> list[datetime | None]:
        said = [ASHA, ASHA, ASHA.model_copy(update={"consent": False}), ASHA]
        first = await vault.keep("blr1", "p-1", said[0].model_copy(update={"consent_since": long_ago}))
        return [first.consent_since, *[(await vault.keep("blr1", "p-1", each)).consent_since for each in said[1:]]]

    first, again, withdrawn, anew = in_vault(run)
    assert first != long_ago, "the vault says when, and nobody else"
    assert (again, withdrawn) == (first, None)
    assert anew >= first


def test_erasing_destroys_key_and_contact_and_leaves_others(in_vault: InVault, vault_settings: Settings) -> None:
    async def run(vault: Vault) -> tuple[Any, ...]:
        for patient in ("p-1", "p-2"):
            await vault.keep("blr1", patient, ASHA)
        erased = await vault.erase("blr1", "p-1"), await vault.erase("blr1", "p-1")
        await vault.shred()
        return *erased, await vault.contact("blr1", "p-1"), await vault.contact("blr1", "p-2")

    first, again, gone, other = in_vault(run)
    assert (first, again) == (Erased(1, 1), Erased(0, 0))
    assert gone is None
    assert other is not None
    tables = asyncio.run(_tables(vault_settings))
    assert {table: [row["patient_id"] for row in tables[table]] for table in ("patient_keys", "contacts")} == {
        "patient_keys": ["p-2"],
        "contacts": ["p-2"],
    }


def test_a_contact_in_a_backup_is_noise_once_its_key_is_destroyed(in_vault: InVault, vault_settings: Settings) -> None:
    in_vault(lambda vault: vault.keep("blr1", "p-1", ASHA))
    _run_sql(vault_settings, "CREATE TABLE backup AS SELECT * FROM contacts")
    in_vault(lambda vault: vault.erase("blr1", "p-1"))
    in_vault(lambda vault: vault.keep("blr1", "p-1", ASHA))  # the patient comes back, with another key
    _run_sql(vault_settings, "UPDATE contacts SET sealed = (SELECT sealed FROM backup)")
    with pytest.raises(Unreadable):
        in_vault(lambda vault: vault.contact("blr1", "p-1"))


@pytest.mark.parametrize("table", ["contacts", "patient_keys"])
def test_a_row_in_another_patients_place_is_refused(in_vault: InVault, vault_settings: Settings, table: str) -> None:
    async def run(vault: Vault) -> None:
        for patient in ("p-1", "p-2"):
            await vault.keep("blr1", patient, ASHA)

    in_vault(run)
    _run_sql(
        vault_settings,
        f"DELETE FROM {table} WHERE patient_id = 'p-1'",  # noqa: S608  ours
        f"UPDATE {table} SET patient_id = 'p-1'",  # noqa: S608  ours
    )
    with pytest.raises(Unreadable, match="altered, or is another one's"):
        in_vault(lambda vault: vault.contact("blr1", "p-1"))


def test_a_number_is_one_patient_id_in_its_facility_however_it_is_typed(in_vault: InVault) -> None:
    async def ids(vault: Vault) -> list[str]:
        asked = [("blr1", "MRN 17"), ("blr1", "mrn17"), ("blr1", "MRN18"), ("blr2", "MRN17")]
        return [await vault.patient_id(*each) for each in asked]

    first, again = in_vault(ids), in_vault(ids)
    assert first == again
    assert first[0] == first[1]
    assert len(set(first)) == 3
    assert all(len(each) == 45 and "17" not in each[:2] for each in first)


def test_two_that_begin_together_have_one_key(in_vault: InVault, vault_settings: Settings) -> None:
    async def both(vault: Vault) -> tuple[set[str], Contact | None]:
        async with opening(vault_settings) as other:
            ids = await asyncio.gather(*[each.patient_id("blr1", "1") for each in (vault, other)])
            await asyncio.gather(*[each.keep("blr1", "p-1", ASHA) for each in (vault, other) for _ in range(5)])
        return set(ids), await vault.contact("blr1", "p-1")

    ids, contact = in_vault(both)
    assert len(ids) == 1
    assert contact is not None


def test_nothing_of_a_contact_stands_in_its_text_or_in_an_error() -> None:
    assert not [text for text in SAID if text in f"{ASHA!r} {ASHA} {[ASHA]}"]
    for wrong in (
        {"phone": "Canary"},
        {"email": "canary@@"},
        {"name": "Canary" * 40},
        {"canary@": 1},
        {"language": ""},
    ):
        with pytest.raises(ValidationError) as error:
            Contact.model_validate({"consent": False, **wrong})
        assert "Canary" not in str(error.value)
        assert not any("canary@@" in str(each["msg"]) for each in error.value.errors())


def test_who_consents_can_be_reached() -> None:
    with pytest.raises(ValidationError, match="whoever consents to messages has an email or a phone"):
        Contact(consent=True)
    assert Contact(consent=False).language == "en"


def test_the_master_key_is_made_once_for_its_owners_eyes_and_changed_by_rewrapping(
    in_vault: InVault, vault_settings: Settings
) -> None:
    file = vault_settings.vault_key_file
    assert file is not None
    in_vault(lambda vault: vault.keep("blr1", "p-1", ASHA))
    number = in_vault(lambda vault: vault.patient_id("blr1", "1"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    former = file.read_text()
    file.write_text(base64.b64encode(new_key()).decode() + "\n" + former)
    assert [in_vault(lambda vault: vault.rewrap()) for _ in range(2)] == [2, 0]
    file.write_text(file.read_text().splitlines()[0])
    assert in_vault(lambda vault: vault.contact("blr1", "p-1")).name == ASHA.name
    assert in_vault(lambda vault: vault.patient_id("blr1", "1")) == number
    file.write_text(former)
    with pytest.raises(Unreadable, match="which is not in the key file\ntry: "):
        in_vault(lambda vault: vault.contact("blr1", "p-1"))


@pytest.mark.parametrize("text", [None, "", "no base64", "c2hvcnQ="])
def test_a_key_file_that_is_none_is_refused_and_not_quoted(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "vault.key"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadKeyFile, match="try: ") as error:
        read_master_keys(file)
    assert not text or text not in str(error.value)


def test_without_postgres_it_says_so(tmp_path: Path) -> None:
    nobody = f"postgresql://opd@127.0.0.1:{free_ports(1)[0]}/opd"
    settings = Settings(postgres_url=nobody, vault_key_file=tmp_path / "vault.key")

    async def run() -> None:
        async with opening(settings, make_key=True) as vault:
            with pytest.raises(VaultUnavailable):
                await vault.contact("blr1", "p-1")

    asyncio.run(run())


def test_analysts_with_default_privileges_do_not_get_in(postgres_server: Database, vault_settings: Settings) -> None:
    grants = "ALTER DEFAULT PRIVILEGES {} USAGE ON SCHEMAS {} pg_monitor"
    _run_sql(vault_settings, grants.format("GRANT", "TO"))
    try:

        async def run() -> bool:
            async with opening(vault_settings, make_key=True) as vault:
                await vault.contact("blr1", "p-1")
            connection = await connect(postgres_server.url, "public")
            may: bool = await connection.fetchval(
                "SELECT has_schema_privilege('pg_monitor', $1, 'USAGE')", vault_settings.vault_schema
            )
            await connection.close()
            return may

        assert not asyncio.run(run())
    finally:
        _run_sql(vault_settings, grants.format("REVOKE", "FROM"))


def test_opd_erase_says_what_it_destroyed_and_what_stays(in_vault: InVault, vault_settings: Settings) -> None:
    async def run(vault: Vault) -> None:
        await vault.keep("blr1", await vault.patient_id("blr1", "canary-17"), ASHA)
        await vault.keep("blr1", "p-2", ASHA)

    in_vault(run)
    where = [
        *("--postgres-url", vault_settings.postgres_url, "--vault-schema", vault_settings.vault_schema),
        *("--vault-key-file", str(vault_settings.vault_key_file)),
    ]
    for who in (["--patient-number", "CANARY-17"], ["--patient-id", "p-2"]):
        said = opd_here("erase", "--facility", "blr1", *who, *where)
        assert said.returncode == 0, said.stderr
        assert "Destroyed: 1 key, 1 contact of blr1." in said.stdout
        assert "What stays: the patient's opaque id in the topics" in said.stdout
        assert "canary" not in (said.stdout + said.stderr).lower()
    assert asyncio.run(_tables(vault_settings))["contacts"] == []
