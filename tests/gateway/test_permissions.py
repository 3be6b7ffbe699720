"""Every role at every endpoint, at home and abroad, its own and others': made from the permission table."""

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import jwt
import pytest
from fastapi.routing import APIRoute

from schemas.words import Source
from services.gateway.permissions import PERMISSIONS, SOURCES, Action, Reach, Role, as_markdown
from services.gateway.routes import commands, departments, doctors, events, operations, patients, slots, tokens
from tests.console import ROOT
from tests.gateway.world import DATE, POOL, SLOT, WHERE, Run, World, bearer

PAGE = ROOT / "docs" / "permissions.md"
MINE, OTHERS = "p-mine", "p-others"
DAYS = count(1)
CLAIMS: dict[Role, dict[str, Any]] = {
    Role.PATIENT: {"patient_id": MINE},
    Role.PORTAL: {},
    Role.RECEPTION: {},
    Role.KIOSK: {},
    Role.DOCTOR: {"doctor_id": "dr-rao"},
    Role.ADMIN: {},
    Role.AUDITOR: {},
}
# With each: who is asked about. True: the caller's own patient, doctor or booking; False: another one's.
Ask = Callable[[World, dict[str, str], bool], Awaitable[int]]


def headers(role: Role, **scope: Any) -> dict[str, str]:
    return bearer(sub=f"the-{role}", role=role, **{"facilities": ["blr1"], **CLAIMS[role], **scope})


async def _book(world: World, who: dict[str, str], own: bool) -> int:
    source = "WALK_IN" if _claims(who)["role"] == Role.KIOSK else "ONLINE"
    body = {**POOL, "patient_id": MINE if own else OTHERS, "source": source}
    return (await world.post("/tokens", body, **who)).status_code


def _of_token(path: str, status: str | None = None) -> Ask:
    async def ask(world: World, who: dict[str, str], own: bool) -> int:
        token = await _a_token(world, who, own, status)
        answer = await (world.post(f"/tokens/{token}/{path}", **who) if path else world.get(f"/tokens/{token}", **who))
        if answer.status_code == 200:
            assert ("patient_id" in answer.json()) == (_claims(who)["role"] not in {Role.AUDITOR, Role.KIOSK})
        return answer.status_code

    return ask


def _of_doctor(method: str, path: str, **body: Any) -> Ask:
    async def ask(world: World, who: dict[str, str], own: bool) -> int:
        doctor = "dr-rao" if own else "dr-iyer"
        answer = await world.http.request(method, f"/doctors/{doctor}/{path}", json={**POOL, **body}, headers=who)
        return answer.status_code

    return ask


async def _register(world: World, who: dict[str, str], own: bool) -> int:
    doctor: dict[str, Any] = {**WHERE, "doctor_id": "dr-rao" if own else "dr-iyer", "name": "Dr", "schedule": []}
    doctor["schedule"] = [{"slot": SLOT, "capacity": 50}, {"slot": "11:00-12:00", "capacity": 5}]
    return (await world.post("/doctors", doctor, **who)).status_code


async def _close(world: World, who: dict[str, str], own: bool) -> int:
    del own
    return (await world.post("/slots/close", POOL, **who)).status_code


async def _read_command(world: World, who: dict[str, str], own: bool) -> int:
    home = bearer(role="admin", sub=_subject(who) if own else "another")  # abroad, what one sent at home
    sent = await world.post("/doctors/dr-rao/call-next", POOL, Prefer="wait=0", **home)
    status = (await world.get(sent.headers["Location"], **who)).status_code
    return 200 if status in {201, 409} else status  # allowed, whatever became of it


def _listing(path: str) -> Ask:
    async def ask(world: World, who: dict[str, str], own: bool) -> int:
        del own
        answer = await world.get(path, **who)
        if path.startswith("/tokens") and answer.status_code == 200:
            found = answer.json()["tokens"]
            assert found
            if "the-patient" in _subject(who):
                assert {token["patient_id"] for token in found} == {MINE}
            if "the-doctor" in _subject(who):
                assert {token["doctor_id"] for token in found} == {"dr-rao"}
            if "the-auditor" in _subject(who):
                assert not any("patient_id" in token for token in found)
        return answer.status_code

    return ask


async def _follow(world: World, who: dict[str, str], own: bool) -> int:
    """The endpoint is an endless stream: who is let in is known when its first event would come."""
    del own
    place = "1-0-0" if world.log.partition_of(b"blr1/cardiology") == 0 else "0-0-0"
    answer = await world.get("/events?facility_id=blr1&department_id=cardiology", Last_Event_ID=place, **who)
    return 200 if answer.status_code == 422 else answer.status_code  # let in, and told that this is no place of it


async def _keep_contact(world: World, who: dict[str, str], own: bool) -> int:
    body = {"facility_id": "blr1", "patient_id": MINE if own else OTHERS, "contact": {"consent": False}}
    return (await world.put("/patients/contact", body, **who)).status_code


async def _read_contact(world: World, who: dict[str, str], own: bool) -> int:
    await _keep_contact(world, bearer(role="admin"), own)
    named = {"OPD-Patient-Id": MINE if own else OTHERS}
    return (await world.get("/patients/contact?facility_id=blr1", **named, **who)).status_code


async def _erase(world: World, who: dict[str, str], own: bool) -> int:
    named = {"OPD-Patient-Id": MINE if own else OTHERS}
    return (await world.http.delete("/patients?facility_id=blr1", headers={**named, **who})).status_code


ASK: dict[Action, Ask] = {
    Action.BOOK: _book,
    Action.LIST_TOKENS: _listing("/tokens?facility_id=blr1"),
    Action.READ_TOKEN: _of_token(""),
    Action.CANCEL: _of_token("cancel"),
    Action.CHECK_IN: _of_token("check-in"),
    Action.NO_SHOW: _of_token("no-show"),
    Action.COMPLETE: _of_token("complete", "CALLED"),
    Action.REGISTER_DOCTOR: _register,
    Action.LIST_DOCTORS: _listing("/doctors?facility_id=blr1&department_id=cardiology"),
    Action.SET_AVAILABILITY: _of_doctor("PUT", "availability", available=True),
    Action.SET_CAPACITY: _of_doctor("PUT", "capacity", capacity=50),
    Action.CALL_NEXT: _of_doctor("POST", "call-next"),
    Action.CLOSE_SLOT: _close,
    Action.READ_POOL: _listing(f"/pools/blr1/cardiology/{DATE}/{SLOT}"),
    Action.LIST_DEPARTMENTS: _listing("/departments?facility_id=blr1"),
    Action.READ_COMMAND: _read_command,
    Action.FOLLOW: _follow,
    Action.KEEP_CONTACT: _keep_contact,
    Action.READ_CONTACT: _read_contact,
    Action.ERASE: _erase,
    Action.OPERATIONS: _listing("/operations"),
}
OF_NO_DEPARTMENT = {Action.KEEP_CONTACT, Action.READ_CONTACT, Action.ERASE}  # a patient is the facility's
OWN_IS_BY_CALLER = {Action.LIST_TOKENS, Action.FOLLOW}  # these show one's own and leave out the rest
MADE_IT = {200, 201, 202, 409}  # done, or refused by the engine: either way the caller was let in


@pytest.mark.parametrize("action", Action)
def test_every_role_reaches_what_the_table_says_and_no_more(in_world: Run, action: Action) -> None:
    async def run(world: World) -> None:
        await world.register(capacity=50)
        await world.register("dr-iyer", capacity=50)
        for patient in (MINE, OTHERS, "p-3", "p-4"):
            await world.book(patient)
        for role in Role:
            reach = PERMISSIONS[action][role]
            expected_of_others = MADE_IT if reach not in {Reach.NOTHING, Reach.OWN} else {403, 404}
            if action in OWN_IS_BY_CALLER and reach is Reach.OWN:
                expected_of_others = MADE_IT
            expected_of_own = {403} if reach is Reach.NOTHING else MADE_IT
            own = await ASK[action](world, headers(role), True)
            assert own in expected_of_own, f"{role}: its own: {own}"
            others = await ASK[action](world, headers(role), False)
            assert others in expected_of_others, f"{role}: another's: {others}"
            for scope in ({"facilities": ["elsewhere"]}, {"departments": ["dermatology"]}):
                if action is Action.OPERATIONS:
                    continue  # the engine is one, whatever the claims name
                if "departments" in scope and action in {
                    Action.LIST_DEPARTMENTS,
                    Action.LIST_TOKENS,
                    *OF_NO_DEPARTMENT,
                }:
                    continue  # these show what there is within the scope: see below
                abroad = await ASK[action](world, headers(role, **scope), True)
                assert abroad in {403, 404}, f"{role} of {scope}: {abroad}"

    in_world(run)


def test_lists_show_the_departments_of_the_claims_alone(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register()
        await world.register(department_id="dermatology")
        await world.book("p1")
        await world.book("p2", department_id="dermatology")
        who = headers(Role.RECEPTION, departments=["dermatology"])
        found = await world.get("/departments?facility_id=blr1", **who)
        assert [each["department_id"] for each in found.json()["departments"]] == ["dermatology"]
        tokens_ = (await world.get("/tokens?facility_id=blr1", **who)).json()["tokens"]
        assert [each["patient_id"] for each in tokens_] == ["p2"]

    in_world(run)


def test_nobody_takes_a_class_that_is_not_for_them(in_world: Run) -> None:
    async def run(world: World) -> None:
        await world.register(capacity=50)
        for role in Role:
            for source in Source:
                body = {**POOL, "patient_id": MINE, "source": source}
                answer = await world.post("/tokens", body, **headers(role))
                assert (answer.status_code != 403) == (source in SOURCES[role]), (role, source)

    in_world(run)


def test_every_endpoint_is_in_the_table() -> None:
    there = {
        f"{method} {route.path}"
        for module in (tokens, doctors, slots, departments, commands, events, operations, patients)
        for route in module.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert there == set(Action)
    assert ASK.keys() == set(Action)
    assert all(row.keys() == set(Role) for row in PERMISSIONS.values())


def test_the_page_is_made_from_the_table() -> None:
    assert as_markdown() in Path(PAGE).read_text(encoding="utf-8")


async def _a_token(world: World, who: dict[str, str], own: bool, status: str | None) -> str:
    """Give a token that is the caller's own, in every sense that there is, or in none."""
    pool = {**POOL, "date": f"{date.fromisoformat(DATE) + timedelta(next(DAYS) % 150)}"}  # nobody has a token there
    patient, doctor = (MINE, "dr-rao") if own else (OTHERS, "dr-iyer")
    booked_by = bearer(role="admin", sub=_subject(who) if own else "the-desk")
    body = {**pool, "patient_id": patient, "source": "ONLINE", "doctor_id": doctor}
    booked = await world.post("/tokens", body, **booked_by)
    assert booked.status_code == 201, booked.text
    token: str = booked.json()["token_id"]
    if status == "CALLED":
        await world.post(f"/tokens/{token}/check-in")
        await world.post(f"/doctors/{doctor}/call-next", pool)
    return token


def _subject(who: dict[str, str]) -> str:
    return str(_claims(who)["sub"])


def _claims(who: dict[str, str]) -> dict[str, Any]:
    token = who["Authorization"].removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims
