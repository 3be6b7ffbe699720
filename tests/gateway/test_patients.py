"""Patients over HTTP: by number or by id, reached as they said, and erased."""

from typing import Any

import pytest

from services.gateway.permissions import Role
from tests.gateway.world import POOL, Run, World, bearer

CONTACT = {"name": "Canary Name", "language": "ur", "phone": "+918041234567", "consent": True}
NUMBER = "MRN 0012345"
RECEPTION = bearer(role="reception")


async def _keep(world: World, who: dict[str, str] = RECEPTION, **more: Any) -> Any:
    return await world.put("/patients/contact", {"facility_id": "blr1", "contact": CONTACT, **more}, **who)


def test_a_number_books_as_the_patient_that_it_stands_for(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register()
        kept = await _keep(world, patient_number=NUMBER)
        patient_id = kept.json()["patient_id"]
        body = {**POOL, "source": "WALK_IN"}
        booked = await world.post("/tokens", {**body, "patient_number": "mrn0012345"}, **RECEPTION)
        assert booked.status_code == 201, booked.text
        assert booked.json()["patient_id"] == patient_id
        again = await world.post("/tokens", {**body, "patient_id": patient_id}, **RECEPTION)
        assert again.json()["reason"] == "DUPLICATE_PATIENT", "it is one patient"
        [event] = [
            each for topic in world.log.engine.topics.values() for each in topic if b"Confirmed" in (each.value or b"")
        ]
        assert patient_id in str(event)
        assert "0012345" not in str(event)

    in_world(run)


def test_a_contact_is_kept_read_and_erased(in_world: Run) -> None:
    async def run(world: World) -> None:
        kept = await _keep(world, patient_number=NUMBER)
        assert kept.status_code == 200, kept.text
        assert kept.json()["contact"] == {**CONTACT, "consent_since": kept.json()["contact"]["consent_since"]}
        for named in ({"OPD-Patient-Number": NUMBER}, {"OPD-Patient-Id": kept.json()["patient_id"]}):
            found = await world.get("/patients/contact?facility_id=blr1", **named, **RECEPTION)
            assert found.json() == kept.json()
        mine = bearer(role="patient", patient_id=kept.json()["patient_id"])
        assert (await world.get("/patients/contact?facility_id=blr1", **mine)).json() == kept.json()
        for expected in ({"keys": 1, "contacts": 1}, {"keys": 0, "contacts": 0}):
            erased = await world.http.delete("/patients?facility_id=blr1", headers={"OPD-Patient-Number": NUMBER})
            assert (erased.status_code, erased.json()) == (200, expected)
        gone = await world.get("/patients/contact?facility_id=blr1", **{"OPD-Patient-Number": NUMBER}, **RECEPTION)
        assert (gone.status_code, gone.json()["type"]) == (404, "/problems/patient-unknown")

    in_world(run)


def test_a_patient_names_neither_a_number_nor_somebody_else(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register()
        who = bearer(role="patient", patient_id="p-1")
        for wrong in ({"patient_number": NUMBER}, {"patient_id": "p-2"}):
            assert (await _keep(world, who, **wrong)).status_code == 403
            asked = await world.post("/tokens", {**POOL, "source": "ONLINE", **wrong}, **who)
            assert asked.status_code == 403
        assert (await _keep(world, who)).json()["patient_id"] == "p-1"
        assert (await world.post("/tokens", {**POOL, "source": "ONLINE"}, **who)).json()["patient_id"] == "p-1"

    in_world(run)


@pytest.mark.parametrize("named", [{}, {"patient_number": NUMBER, "patient_id": "p-1"}])
def test_who_is_meant_is_said_once(in_world: Run, named: dict[str, Any]) -> None:
    async def run(world: World) -> None:
        for answer in (await _keep(world, **named), await world.post("/tokens", {**POOL, "source": "PAID", **named})):
            assert answer.status_code == 422
            assert answer.json()["errors"] == [
                {"field": "patient_id", "fault": "either a patient_id or a patient_number"}
            ]

    in_world(run)


def test_wrong_contacts_name_the_field_and_repeat_nothing(in_world: Run) -> None:
    async def run(world: World) -> None:
        wrong = {
            "phone": "Canary",
            "email": "Canary",
            "language": "Canary",
            "quiet_hours": "Canary",
            "consent": "Canary",
        }
        for name, value in wrong.items():
            answer = await _keep(world, patient_number=NUMBER, contact={**CONTACT, name: value})
            assert answer.status_code == 422
            assert [each["field"] for each in answer.json()["errors"]] == [f"body.contact.{name}"]
            assert "Canary" not in answer.text
        answer = await _keep(world, patient_number="Canary\u00e9")
        assert (answer.status_code, "Canary" in answer.text) == (422, False)

    in_world(run)


def test_roles_that_may_do_nothing_with_contacts_are_told_before_the_vault_is_asked(in_world: Run) -> None:
    async def run(world: World) -> None:
        who = bearer(role=Role.DOCTOR, doctor_id="dr-rao")
        assert (await _keep(world, who, patient_number=NUMBER)).status_code == 403

    in_world(run)
