"""Tokens: asked for, given back, followed."""

import base64
import binascii
import json
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel

from schemas.commands import CancelTokenData, RequestTokenData, TokenData
from schemas.words import Date, DepartmentId, DoctorId, FacilityId, PatientId, Slot, Source, Status
from services.gateway import queries
from services.gateway.access import Access, may
from services.gateway.answers import Token
from services.gateway.openapi import read, taking, written
from services.gateway.parts import Parts, TheParts
from services.gateway.patients import patient_of
from services.gateway.permissions import SOURCES, Action
from services.gateway.problems import FORBIDDEN, INVALID_REQUEST, FieldFault, Problem
from services.gateway.quick import QuickRoute
from services.gateway.requests import AT_POSITION, TOKEN_PATH, AsAsked, How, answered, body, department_of
from services.gateway.shapes import Booking, CancelBody, ListedToken, TokenEvent, TokenPage, TokenStory

router = APIRouter(tags=["tokens"], route_class=QuickRoute)

TokenPath = Annotated[str, Path(pattern=TOKEN_PATH, examples=["blr1.cardiology.20261123.17"])]
_ONE_TOKEN = written((200, Token))


@router.post(
    "/tokens",
    summary="Ask for a token",
    responses=written((200, Token), (201, Token)),
    openapi_extra=taking(Booking),
    response_class=Response,
)
async def book(
    parts: TheParts,
    how: AsAsked,
    access: Annotated[Access, may(Action.BOOK)],
    asked: Annotated[Booking, body(Booking)],
) -> Response:
    """Answers 201 with the new token, or 200 with the one held, if an emergency raised it."""
    access.refuse_unless_covered(asked.facility_id, asked.department_id)
    if asked.source not in SOURCES[access.caller.role]:
        raise Problem(FORBIDDEN, f"the role {access.caller.role} does not ask as {asked.source}")
    patient_id = await patient_of(parts, access, asked.facility_id, asked.patient_id, asked.patient_number)
    given = asked.model_dump(exclude_none=True, exclude={"patient_number"})
    data = RequestTokenData.model_validate({**given, "patient_id": patient_id})
    outcome = await parts.writes.ask(access.caller, "RequestToken", data, key=how.key, wait_s=how.wait_s)
    return answered(outcome, sees_patients=access.sees_patients)


@router.post(
    "/tokens/{token_id}/cancel",
    summary="Give a token back",
    responses=_ONE_TOKEN,
    openapi_extra=taking(CancelBody, required=False),
    dependencies=[AT_POSITION],
    response_class=Response,
)
async def cancel(
    parts: TheParts,
    how: AsAsked,
    token_id: TokenPath,
    access: Annotated[Access, may(Action.CANCEL)],
    why: Annotated[CancelBody, body(CancelBody, optional=True)],
) -> Response:
    """Gives the seat to who waits for it."""
    return await _of_token(parts, access, how, "CancelToken", _named(CancelTokenData, token_id, why))


@router.post(
    "/tokens/{token_id}/check-in",
    summary="The patient is there",
    responses=_ONE_TOKEN,
    dependencies=[AT_POSITION],
    response_class=Response,
)
async def check_in(
    parts: TheParts, how: AsAsked, token_id: TokenPath, access: Annotated[Access, may(Action.CHECK_IN)]
) -> Response:
    """From then on the patient can be called."""
    return await _of_token(parts, access, how, "CheckIn", _named(TokenData, token_id))


@router.post(
    "/tokens/{token_id}/no-show",
    summary="The patient did not come",
    responses=_ONE_TOKEN,
    dependencies=[AT_POSITION],
    response_class=Response,
)
async def no_show(
    parts: TheParts, how: AsAsked, token_id: TokenPath, access: Annotated[Access, may(Action.NO_SHOW)]
) -> Response:
    """Gives the seat to who waits for it."""
    return await _of_token(parts, access, how, "MarkNoShow", _named(TokenData, token_id))


@router.post(
    "/tokens/{token_id}/complete",
    summary="The consultation is over",
    responses=_ONE_TOKEN,
    dependencies=[AT_POSITION],
    response_class=Response,
)
async def complete(
    parts: TheParts, how: AsAsked, token_id: TokenPath, access: Annotated[Access, may(Action.COMPLETE)]
) -> Response:
    """The seat stays taken."""
    return await _of_token(parts, access, how, "CompleteConsultation", _named(TokenData, token_id))


@router.get(
    "/tokens/{token_id}",
    summary="One token, and its story",
    responses=read(404),
    dependencies=[AT_POSITION],
    response_model_exclude_none=True,
)
async def read_token(
    parts: TheParts, token_id: TokenPath, access: Annotated[Access, may(Action.READ_TOKEN)]
) -> TokenStory:
    """Where it stands now, and each event that touched it."""
    access.refuse_unless_covered(*department_of(token_id))
    row = await access.own(await parts.history.token(token_id), parts)
    token = _token(row, sees_patients=access.sees_patients)
    if token.status is Status.WAITLISTED:
        waitlist = await parts.history.waitlist(token.facility_id, token.department_id, row["date"], token.slot)
        token.position = next((each["position"] for each in waitlist if each["token_id"] == token_id), None)
    story = [_event(each) for each in await parts.history.rows(queries.STORY, token_id)]
    return TokenStory(**token.model_dump(), estimate=await parts.estimates.of_token(row), story=story)


@router.get(
    "/tokens",
    summary="Tokens",
    responses=read(),
    dependencies=[AT_POSITION],
    response_model_exclude_none=True,
)
async def list_tokens(  # noqa: PLR0913, PLR0917  its filters
    parts: TheParts,
    access: Annotated[Access, may(Action.LIST_TOKENS)],
    facility_id: FacilityId,
    department_id: DepartmentId | None = None,
    date: Date | None = None,
    slot: Slot | None = None,
    status: Status | None = None,
    source: Source | None = None,
    doctor_id: DoctorId | None = None,
    opd_patient_id: Annotated[
        PatientId | None, Header(description="One patient's alone; a header, for addresses are logged.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="`next` of the page before.", max_length=400)] = None,
) -> TokenPage:
    """Those that the caller may see, page by page."""
    access.refuse_unless_covered(facility_id, department_id)
    access.asked.patient_id = access.only_patient or opd_patient_id
    wanted = {
        "facility_id": facility_id,
        "department_id": department_id,
        "date": _day(date),
        "slot": slot,
        "status": status,
        "source": source,
    }
    only = [
        ("doctor_id", doctor_id),
        ("patient_id", opd_patient_id if access.sees_patients else None),
        ("doctor_id", access.only_doctor),
        ("patient_id", access.only_patient),
    ]
    conditions = [(name, value) for name, value in (*wanted.items(), *only) if value is not None]
    clauses = [f"{name} = ${number}" for number, (name, _) in enumerate(conditions, 1)]
    values: list[Any] = [value for _, value in conditions]
    if access.caller.departments is not None:
        values.append(access.caller.departments)
        clauses.append(f"department_id = ANY(${len(values)})")
    if cursor is not None:
        values += _after(cursor)
        last = len(values)
        clauses.append(f"(department_id, date, token_no) > (${last - 2}, ${last - 1}, ${last})")
    rows = await parts.history.rows(
        f"SELECT * FROM tokens WHERE {' AND '.join(clauses)} "  # noqa: S608  names of ours, and numbers
        f"ORDER BY department_id, date, token_no LIMIT {limit + 1}",
        *values,
    )
    tokens = [
        ListedToken(**_token(row, sees_patients=access.sees_patients).model_dump(), checked_in_at=row["checked_in_at"])
        for row in rows[:limit]
    ]
    return TokenPage(tokens=tokens, next=_cursor(tokens[-1]) if len(rows) > limit else None)


async def _of_token(parts: Parts, access: Access, how: How, kind: str, data: Any) -> Response:
    access.refuse_unless_covered(data.facility_id, data.department_id)
    if access.reach is access.reach.OWN:
        await access.own(await parts.history.token(data.token_id), parts)
    outcome = await parts.writes.ask(access.caller, kind, data, key=how.key, wait_s=how.wait_s)
    return answered(outcome, sees_patients=access.sees_patients)


def _named(model: type[BaseModel], token_id: str, more: BaseModel | None = None) -> BaseModel:
    facility_id, department_id = department_of(token_id)
    given = {} if more is None else more.model_dump(exclude_none=True)
    return model.model_validate(
        {"facility_id": facility_id, "department_id": department_id, "token_id": token_id, **given}
    )


def _token(row: Any, *, sees_patients: bool) -> Token:
    told = {name: row[name] for name in Token.model_fields if name not in {"position", "date", "patient_id"}}
    patient_id = row["patient_id"] if sees_patients else None
    return Token.model_validate({**told, "date": row["date"].isoformat(), "patient_id": patient_id})


def _event(row: Any) -> TokenEvent:
    return TokenEvent(
        id=f"{row['partition']}-{row['command_offset']}-{row['n']}",
        position=row["waitlist_position"],
        from_doctor_id=row["former_doctor_id"],
        from_source=row["former_source"],
        **{name: row[name] for name in ("type", "time", "source", "status", "doctor_id", "reason", "by_token_id")},
    )


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _cursor(token: Token) -> str:
    place = json.dumps([token.department_id, token.date, token.token_no])
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _after(cursor: str) -> list[Any]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        department_id, day, token_no = json.loads(text)
        if isinstance(department_id, str) and isinstance(token_no, int) and abs(token_no) < 2**31:
            return [department_id, date.fromisoformat(day), token_no]
    except (binascii.Error, ValueError, TypeError):
        pass
    raise Problem(INVALID_REQUEST, errors=[FieldFault(field="query.cursor", fault="not one of ours")])
