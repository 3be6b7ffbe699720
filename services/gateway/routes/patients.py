"""Patients: how they are reached, and that it is forgotten. Who they are stands in heads and bodies, in no address."""

from typing import Annotated

from fastapi import APIRouter, Header

from schemas.words import FacilityId, PatientId
from services.gateway.access import Access, may
from services.gateway.openapi import read, taking
from services.gateway.parts import TheParts
from services.gateway.patients import patient_of, vault_of
from services.gateway.permissions import Action
from services.gateway.problems import PATIENT_UNKNOWN, Problem
from services.gateway.quick import QuickRoute
from services.gateway.requests import body
from services.gateway.shapes import ContactBody, Erased, KnownContact
from services.vault.contact import Contact, PatientNumber

router = APIRouter(tags=["patients"], route_class=QuickRoute)

PatientIdHead = Annotated[PatientId | None, Header(description="Whose; a header, for addresses are logged.")]
PatientNumberHead = Annotated[
    PatientNumber | None, Header(description="The hospital's own number, in place of OPD-Patient-Id.")
]


@router.put(
    "/patients/contact",
    summary="How a patient is reached",
    responses=read(415, 501),
    openapi_extra=taking(ContactBody),
    response_model_exclude_none=True,
)
async def keep_contact(
    parts: TheParts,
    access: Annotated[Access, may(Action.KEEP_CONTACT)],
    said: Annotated[ContactBody, body(ContactBody)],
) -> KnownContact:
    """In place of what was known before as a whole. It stands in the vault alone, encrypted."""
    access.refuse_unless_covered(said.facility_id)
    patient_id = await patient_of(parts, access, said.facility_id, said.patient_id, said.patient_number)
    kept = await vault_of(parts).keep(said.facility_id, patient_id, said.contact)
    return _known(said.facility_id, patient_id, kept)


@router.get(
    "/patients/contact",
    summary="How a patient is reached",
    responses=read(404, 501),
    response_model_exclude_none=True,
)
async def read_contact(
    parts: TheParts,
    access: Annotated[Access, may(Action.READ_CONTACT)],
    facility_id: FacilityId,
    opd_patient_id: PatientIdHead = None,
    opd_patient_number: PatientNumberHead = None,
) -> KnownContact:
    """As it was said last."""
    access.refuse_unless_covered(facility_id)
    patient_id = await patient_of(parts, access, facility_id, opd_patient_id, opd_patient_number)
    found = await vault_of(parts).contact(facility_id, patient_id)
    if found is None:
        raise Problem(PATIENT_UNKNOWN)
    return _known(facility_id, patient_id, found)


@router.delete("/patients", summary="Erase a patient", responses=read(501))
async def erase(
    parts: TheParts,
    access: Annotated[Access, may(Action.ERASE)],
    facility_id: FacilityId,
    opd_patient_id: PatientIdHead = None,
    opd_patient_number: PatientNumberHead = None,
) -> Erased:
    """Destroys the contact and the key that it is encrypted under. The opaque id stays in the log."""
    access.refuse_unless_covered(facility_id)
    patient_id = await patient_of(parts, access, facility_id, opd_patient_id, opd_patient_number)
    erased = await vault_of(parts).erase(facility_id, patient_id)
    return Erased(keys=erased.keys, contacts=erased.contacts)


def _known(facility_id: str, patient_id: str, contact: Contact) -> KnownContact:
    return KnownContact(facility_id=facility_id, patient_id=patient_id, contact=contact)
