"""Whom a request is about: a patient by the engine's opaque id, or by the hospital's own number."""

from services.gateway.access import Access
from services.gateway.parts import Parts
from services.gateway.permissions import Role
from services.gateway.problems import FORBIDDEN, INVALID_REQUEST, NO_VAULT, FieldFault, Problem
from services.vault.vault import Vault


async def patient_of(parts: Parts, access: Access, facility_id: str, patient_id: str | None, number: str | None) -> str:
    """Give the patient_id of whom a request names, by id or by number.

    Raises:
        Problem: by both or by neither; a patient names somebody else, or a number.
    """
    if access.caller.role is Role.PATIENT and (number is not None or patient_id not in {None, access.only_patient}):
        raise Problem(FORBIDDEN, "a patient asks for themselves alone, by their patient_id")
    named = patient_id or access.only_patient
    if (named is None) == (number is None):
        fault = FieldFault(field="patient_id", fault="either a patient_id or a patient_number")
        raise Problem(INVALID_REQUEST, errors=[fault])
    access.asked.patient_id = named or await vault_of(parts).patient_id(facility_id, str(number))
    return access.asked.patient_id


def vault_of(parts: Parts) -> Vault:
    """Give the vault.

    Raises:
        Problem: there is none.
    """
    if parts.vault is None:
        raise Problem(NO_VAULT)
    return parts.vault
