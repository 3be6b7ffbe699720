"""What the types of problems mean: each at the address that it is called by."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from services.gateway.openapi import problems
from services.gateway.problems import KINDS, NOT_FOUND, Problem
from services.gateway.quick import QuickRoute

router = APIRouter(tags=["problems"], route_class=QuickRoute)


class ProblemType(BaseModel):
    """One type of problem."""

    type: str
    title: str
    status: int
    advice: str


@router.get(
    "/problems/{slug}", summary="What a problem means, and what to do", responses=problems(404, 408, 413, 422, 429, 503)
)
async def read_problem(slug: Annotated[str, Path(max_length=64, examples=["slot-closed"])]) -> ProblemType:
    """Nobody is asked who they are."""
    kind = KINDS.get(slug)
    if kind is None:
        raise Problem(NOT_FOUND)
    return ProblemType(type=kind.type, title=kind.title, status=kind.status, advice=kind.advice)
