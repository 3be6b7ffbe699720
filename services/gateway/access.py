"""Who calls, and whether they may: asked by every endpoint that the permission table names."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from asyncpg import Record
from fastapi import Depends, Request, Security
from fastapi.datastructures import URL
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from schemas.words import RejectionReason
from services.gateway.audited import Asked, asked_by
from services.gateway.identity import Identity
from services.gateway.keys import DEVELOPER, LOOPBACK, InvalidToken, KeysUnavailable
from services.gateway.parts import Parts, parts_of
from services.gateway.permissions import PERMISSIONS, Action, Reach, Role
from services.gateway.problems import AUDIT_UNAVAILABLE, FORBIDDEN, KEYS_UNAVAILABLE, REASONS, UNAUTHENTICATED, Problem

_BEARER = HTTPBearer(auto_error=False, bearerFormat="JWT", description="`opd token-for --role …` for development.")


@dataclass(frozen=True)
class Access:
    """One caller's permission for one action; `asked` is what the audit trail will tell of it."""

    caller: Identity
    reach: Reach
    asked: Asked

    @property
    def sees_patients(self) -> bool:
        """Whether patients' ids are for the caller to see."""
        return self.reach is not Reach.WITHOUT_PATIENTS

    @property
    def only_patient(self) -> str | None:
        """The one patient that the caller is, if they are one."""
        return self.caller.patient_id

    @property
    def only_doctor(self) -> str | None:
        """The one doctor that the permission is for, if it is for one."""
        return self.caller.doctor_id if self.reach is Reach.OWN else None

    def refuse_unless_covered(self, facility_id: str, department_id: str | None = None) -> None:
        """Refuse what is outside the claims' facilities and departments."""
        self.asked.facility_id, self.asked.department_id = facility_id, department_id
        if not self.caller.covers(facility_id, department_id):
            raise Problem(FORBIDDEN, "outside the facilities and departments of the token")

    def refuse_unless_doctor(self, doctor_id: str) -> None:
        """Refuse a doctor another one's sessions."""
        if self.only_doctor not in {None, doctor_id}:
            raise Problem(FORBIDDEN, "another doctor's session")

    async def own(self, token: Record | None, parts: Parts) -> Record:
        """Give a token back if it is for the caller; one that is not their own is as one that there is not.

        Args:
            token: its row; None if there is none.
            parts: where to ask who booked it.

        Raises:
            Problem: it is not.
        """
        if token is None or (self.reach is Reach.OWN and not await self._owns(token, parts)):
            raise Problem(REASONS[RejectionReason.TOKEN_UNKNOWN], reason=RejectionReason.TOKEN_UNKNOWN)
        return token

    async def _owns(self, token: Record, parts: Parts) -> bool:
        if self.caller.role is Role.PATIENT:
            return bool(token["patient_id"] == self.caller.patient_id)
        if self.caller.role is Role.DOCTOR:
            return bool(token["doctor_id"] == self.caller.doctor_id)
        issued_by = await parts.history.issued_by(token["token_id"])
        return issued_by is not None and await parts.writes.was_sent_by(self.caller, issued_by)


def _came_through_the_loopback(request: Request) -> bool:
    host = request.headers.get("host")
    return (request.url.hostname if host is None else _hostname(host)) in LOOPBACK


@lru_cache(maxsize=64)
def _hostname(host: str) -> str | None:
    """Give the host of an address; to take a request's apart takes longer than all else here."""
    nowhere = {"scheme": "http", "server": None, "path": "/", "query_string": b""}
    return URL(scope={**nowhere, "headers": [(b"host", host.encode("latin-1"))]}).hostname


def allowed(action: Action) -> Callable[..., Awaitable[Access]]:
    """Give the dependency that lets in who may do this, and tells how far."""

    async def access(
        request: Request,
        shown: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    ) -> Access:
        if shown is None and "authorization" in request.headers:
            raise Problem(UNAUTHENTICATED, "the header Authorization is no Bearer token")
        parts = parts_of(request)
        try:
            caller = await parts.verifier.who(None if shown is None else shown.credentials)
        except InvalidToken as error:
            raise Problem(UNAUTHENTICATED, str(error)) from None
        except KeysUnavailable:
            raise Problem(KEYS_UNAVAILABLE) from None
        if caller is DEVELOPER and not _came_through_the_loopback(request):
            # A web page whose name was made to lead here would else be an administrator, in its reader's browser.
            raise Problem(UNAUTHENTICATED, "in development mode without a token: through 127.0.0.1 or localhost alone")
        asked = asked_by(request.scope, action, caller)
        if parts.limits is not None:
            await parts.limits.count_caller(request.scope, caller, action)
        if parts.trail.is_full:
            raise Problem(AUDIT_UNAVAILABLE)
        reach = PERMISSIONS[action][caller.role]
        if reach is Reach.NOTHING:
            raise Problem(FORBIDDEN, f"not for the role {caller.role}")
        return Access(caller, reach, asked)

    return access


def may(action: Action) -> Any:
    """Give `allowed` as it stands in a signature."""
    return Depends(allowed(action))
