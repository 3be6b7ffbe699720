"""What every write and every read has in its head, and bodies as strict as the contract is."""

import re
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel, ValidationError

from schemas.words import TokenId
from services.gateway.answers import Token, answer
from services.gateway.parts import TheParts
from services.gateway.problems import INVALID_REQUEST, NO_JSON, NOT_REACHED, FieldFault, Problem
from services.gateway.said import EVENT_PLACE, EventPlace
from services.gateway.shapes import Pending
from services.gateway.writes import Outcome

WAIT_S = 5
MAX_WAIT_S = 30
POSITION = "OPD-Position"
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,6})")
TOKEN_PATH = r"^[a-z0-9-]{1,32}\.[a-z0-9-]{1,32}\.[0-9]{8}\.[1-9][0-9]{0,8}$"  # noqa: S105  a form


class How(NamedTuple):
    """How a command is to be written.

    Attributes:
        key: the caller's idempotency key, if it has one.
        wait_s: how long it wants to wait for the outcome.
    """

    key: str | None
    wait_s: int


async def _how(
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[!-~]{1,64}$",
            description="Names the request: the same once more gives the first answer. One is made if left out. "
            "Best a random UUID; never anything that names a patient.",
            examples=["0b9f3b2e-9f0c-4a51-8d51-7f0c2b0f5a11"],
        ),
    ] = None,
    prefer: Annotated[
        str | None,
        Header(
            description=f"`wait=N`: how many seconds to wait for the outcome, {WAIT_S} if left out, "
            f"{MAX_WAIT_S} at most; 0: do not.",
            examples=["wait=10"],
        ),
    ] = None,
) -> How:
    found = _WAIT.search(prefer or "")
    return How(idempotency_key, min(int(found[1]), MAX_WAIT_S) if found else WAIT_S)


async def _at_position(
    parts: TheParts,
    opd_position: Annotated[
        str | None,
        Header(
            pattern=EVENT_PLACE,
            description="What an earlier answer had as OPD-Position: waits until that is to be seen here.",
            examples=["3-1207-0"],
        ),
    ] = None,
) -> None:
    if opd_position is not None and not await parts.history.has_reached(EventPlace.read(opd_position)):
        raise Problem(NOT_REACHED, headers={"Retry-After": "1"})


AsAsked = Annotated[How, Depends(_how)]
AT_POSITION = Depends(_at_position)


def body(model: type[BaseModel], *, optional: bool = False) -> Any:
    """Give the dependency that reads the body as the contract reads JSON: nothing is coerced, nothing is ignored."""

    async def read(request: Request) -> BaseModel:
        text = await request.body()
        if optional and not text:
            return model()
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Problem(NO_JSON)
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            raise Problem(INVALID_REQUEST, errors=field_faults(error.errors(include_url=False), "body")) from None

    return Depends(read)


def field_faults(errors: Any, *within: str) -> list[FieldFault]:
    """Give what pydantic found as fields and faults, without any value: one may be a patient's id."""
    return [
        FieldFault(field=".".join(map(str, (*within, *each["loc"]))), fault=each["msg"].removeprefix("Value error, "))
        for each in errors
    ]


def department_of(token_id: TokenId) -> tuple[str, str]:
    """Give the facility and the department that a token routes itself to."""
    facility_id, department_id, _, _ = token_id.split(".")
    return facility_id, department_id


def answered(outcome: Outcome, *, sees_patients: bool = True) -> Response:
    """Give the answer to a command: what it led to, a problem if it was refused, or where to ask later."""
    headers = {"Idempotency-Key": outcome.command.id, POSITION: str(outcome.position)}
    if not outcome.events:
        pending = Pending(command=str(outcome.place), idempotency_key=outcome.command.id)
        headers |= {"Location": f"/commands/{outcome.place}", "Retry-After": "1"}
        return _json(202, pending, headers)
    if outcome.is_replay:
        headers["Idempotency-Replayed"] = "true"
    try:
        status, found = answer(outcome.command, outcome.events)
    except Problem as problem:
        problem.headers |= headers
        raise
    if isinstance(found, Token):
        if not sees_patients:
            found = found.model_copy(update={"patient_id": None})
        if status == 201:
            headers["Location"] = f"/tokens/{found.token_id}"
    return _json(status, found, headers)


def _json(status: int, found: BaseModel, headers: dict[str, str]) -> Response:
    return Response(found.model_dump_json(exclude_none=True), status, headers, "application/json")
