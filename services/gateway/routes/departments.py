"""Departments."""

from typing import Annotated

from fastapi import APIRouter

from schemas.words import FacilityId
from services.gateway import queries
from services.gateway.access import Access, may
from services.gateway.openapi import read
from services.gateway.parts import TheParts
from services.gateway.permissions import Action
from services.gateway.quick import QuickRoute
from services.gateway.requests import AT_POSITION
from services.gateway.shapes import Department, Departments

router = APIRouter(tags=["departments"], route_class=QuickRoute)


@router.get("/departments", summary="A facility's departments", responses=read(), dependencies=[AT_POSITION])
async def list_departments(
    parts: TheParts, access: Annotated[Access, may(Action.LIST_DEPARTMENTS)], facility_id: FacilityId
) -> Departments:
    """Those that have doctors and that the caller may see."""
    access.refuse_unless_covered(facility_id)
    rows = await parts.history.rows(queries.DEPARTMENTS, facility_id, access.caller.departments)
    return Departments(departments=[Department(**row) for row in rows])
