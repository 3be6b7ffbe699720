"""Slots: closed, and looked at."""

from datetime import date as calendar_date
from typing import Annotated

from fastapi import APIRouter, Path, Response

from schemas.commands import PoolData
from schemas.words import Date, DepartmentId, FacilityId, RejectionReason, Slot
from services.gateway import queries
from services.gateway.access import Access, may
from services.gateway.answers import ClosedSlot
from services.gateway.openapi import read, taking, written
from services.gateway.parts import TheParts
from services.gateway.permissions import Action, Role
from services.gateway.problems import REASONS, Problem
from services.gateway.quick import QuickRoute
from services.gateway.requests import AT_POSITION, AsAsked, answered, body
from services.gateway.shapes import Pool, PoolSession, Waiting

router = APIRouter(tags=["slots"], route_class=QuickRoute)

_OUTSIDE = {Role.PATIENT, Role.PORTAL, Role.KIOSK}


@router.post(
    "/slots/close",
    summary="Close a slot",
    responses=written((200, ClosedSlot)),
    openapi_extra=taking(PoolData),
    response_class=Response,
)
async def close(
    parts: TheParts,
    how: AsAsked,
    access: Annotated[Access, may(Action.CLOSE_SLOT)],
    pool: Annotated[PoolData, body(PoolData)],
) -> Response:
    """Who waits in it waits in vain: those tokens expire."""
    access.refuse_unless_covered(pool.facility_id, pool.department_id)
    return answered(await parts.writes.ask(access.caller, "CloseSlot", pool, key=how.key, wait_s=how.wait_s))


@router.get(
    "/pools/{facility_id}/{department_id}/{date}/{slot}",
    summary="Seats and who waits",
    responses=read(404),
    dependencies=[AT_POSITION],
    response_model_exclude_none=True,
)
async def read_pool(  # noqa: PLR0913, PLR0917  its address
    parts: TheParts,
    access: Annotated[Access, may(Action.READ_POOL)],
    facility_id: Annotated[FacilityId, Path()],
    department_id: Annotated[DepartmentId, Path()],
    date: Annotated[Date, Path()],
    slot: Annotated[Slot, Path()],
) -> Pool:
    """Doctor by doctor, as it is now."""
    access.refuse_unless_covered(facility_id, department_id)
    pool = (facility_id, department_id, calendar_date.fromisoformat(date), slot)
    sessions = [PoolSession(**row) for row in await parts.history.rows(queries.SESSIONS_OF_A_POOL, *pool)]
    waitlist = [Waiting(**row) for row in await parts.history.waitlist(*pool)]
    if not sessions and not waitlist:
        raise Problem(REASONS[RejectionReason.SLOT_UNKNOWN], reason=RejectionReason.SLOT_UNKNOWN)
    [closed] = await parts.history.rows(queries.IS_CLOSED, *pool)
    return Pool(
        facility_id=facility_id,
        department_id=department_id,
        date=date,
        slot=slot,
        closed=closed[0],
        capacity=sum(each.capacity for each in sessions if each.available),
        taken=sum(each.taken for each in sessions),
        waiting=len(waitlist),
        sessions=sessions,
        estimate=None if closed[0] else await parts.estimates.of_pool(pool[:2], *pool[2:], sessions),
        waitlist=None if access.caller.role in _OUTSIDE else waitlist,
    )
