"""Commands whose outcome did not come in time."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from services.gateway.access import Access, may
from services.gateway.answers import Availability, Capacity, ClosedSlot, Doctor, Token
from services.gateway.openapi import written
from services.gateway.parts import TheParts
from services.gateway.permissions import Action, Reach
from services.gateway.problems import NOT_FOUND, Problem
from services.gateway.quick import QuickRoute
from services.gateway.requests import AT_POSITION, answered
from services.gateway.said import Place
from services.gateway.shapes import CommandPlace

router = APIRouter(tags=["commands"], route_class=QuickRoute)

_ANSWERS = (Token, Doctor, Capacity, Availability, ClosedSlot)


@router.get(
    "/commands/{command_place}",
    summary="What became of a command",
    responses=written(*((200, model) for model in _ANSWERS), (201, Token)),
    dependencies=[AT_POSITION],
    response_class=Response,
)
async def read_command(
    parts: TheParts,
    access: Annotated[Access, may(Action.READ_COMMAND)],
    command_place: Annotated[CommandPlace, Path()],
) -> Response:
    """Answers as the request itself would have; 202 again while that is not known."""
    outcome = await parts.writes.at(Place.read(command_place))
    if outcome is None or (access.reach is Reach.OWN and outcome.command.source != access.caller.source):
        raise Problem(NOT_FOUND)
    access.refuse_unless_covered(outcome.command.data.facility_id, outcome.command.data.department_id)
    return answered(outcome, sees_patients=access.sees_patients)
