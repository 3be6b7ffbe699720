"""`opd erase` and `opd vault`: what is done to the vault by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from services.errors import OpdError
from services.settings import Settings
from services.vault.vault import Vault, VaultUnavailable, opening

_T = TypeVar("_T")
_REMAINS = (
    "What stays: the patient's opaque id in the topics, in Redis and in the history. Nothing leads from it to a person "
    "any more but the hospital's own records.\n"
    "Backups of the vault hold key and contact until they are deleted: see docs/privacy.md."
)


def erase(
    settings: Settings,
    *,
    facility: Annotated[str, typer.Option(help="Of which hospital.")],
    patient_number: Annotated[
        str | None, typer.Option(help="The hospital's own number; left out: it is asked for, unseen.")
    ] = None,
    patient_id: Annotated[str | None, typer.Option(help="The opaque id, in place of the number.")] = None,
) -> None:
    """Destroy what is known of a patient, and the key that it is encrypted under; the log stays as it is."""
    if patient_number is not None and patient_id is not None:
        raise typer.BadParameter("--patient-number or --patient-id, not both")
    if patient_number is None and patient_id is None:
        patient_number = typer.prompt("patient number", hide_input=True, err=True)

    async def run(vault: Vault) -> str:
        who = patient_id or await vault.patient_id(facility, patient_number or "")
        erased = await vault.erase(facility, who)
        await vault.shred()
        return f"Destroyed: {erased.keys} key, {erased.contacts} contact of {facility}."

    typer.echo(_in_vault(settings, run))
    typer.echo(_REMAINS)


def rewrap(settings: Settings) -> None:
    """Wrap every key by the first master key of the file; then the others can leave the file."""

    async def run(vault: Vault) -> str:
        return f"{await vault.rewrap():,} keys are wrapped anew"

    typer.echo(_in_vault(settings, run))


COMMANDS = {"rewrap": rewrap}


def _in_vault(settings: Settings, run: Callable[[Vault], Awaitable[_T]]) -> _T:
    async def opened() -> _T:
        async with opening(settings) as vault:
            return await run(vault)

    try:
        return asyncio.run(opened())
    except VaultUnavailable as error:
        raise OpdError(f"{error}\ntry: look whether it runs at OPD_VAULT_URL, or OPD_POSTGRES_URL") from None
