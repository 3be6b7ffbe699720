"""Whoever reads or changes something is noted in the audit trail, with the answer that they had."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.identity import Identity
from services.gateway.permissions import UNAUDITED, Action
from services.gateway.problems import AUDIT_UNAVAILABLE, MEDIA_TYPE, Problem
from services.gateway.requests import POSITION, TOKEN_PATH
from services.trail.chain import Noted, digest_of
from services.trail.trail import NotNoted, Trail

_SCOPE = "opd.asked"
_TOKEN = re.compile(TOKEN_PATH)


@dataclass
class Asked:
    """What is known of a request whose caller is known: filled in as it is looked into.

    Attributes:
        action: what is asked.
        caller: who asks.
        facility_id: where.
        department_id: likewise.
        patient_id: whom the request names.
    """

    action: Action
    caller: Identity
    facility_id: str | None = None
    department_id: str | None = None
    patient_id: str | None = None

    def noted(self, scope: Scope, status: int, position: str | None) -> Noted:
        """Give the row of the trail."""
        method, route = self.action.split(" ")
        token_id = scope.get("path_params", {}).get("token_id", "")
        patient = None
        if self.facility_id is not None and self.patient_id is not None:
            patient = digest_of(self.facility_id, self.patient_id)
        return Noted(
            time=datetime.now(UTC),
            sub=self.caller.sub,
            role=self.caller.role,
            method=method,
            route=route,
            facility_id=self.facility_id,
            department_id=self.department_id,
            token_id=token_id if _TOKEN.match(token_id) else None,
            patient=patient,
            status=status,
            command=None if position is None else position.rpartition("-")[0],
        )


def asked_by(scope: Scope, action: Action, caller: Identity) -> Asked:
    """Begin the note of a request whose caller is known."""
    asked: Asked = scope.setdefault(_SCOPE, Asked(action, caller))
    return asked


class Audited:
    """A layer of the application, around the endpoints.

    Of a command the log tells too, so its row may follow the answer; everything else is noted first, or not answered.
    """

    def __init__(self, app: ASGIApp, trail: Trail) -> None:
        self._app, self._trail = app, trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note it when its answer begins."""
        answered = refused = False

        async def noting(message: Message) -> None:
            nonlocal answered, refused
            if message["type"] == "http.response.start":
                answered, refused = True, not await self._note(scope, message)
                if refused:
                    await _refuse(send)
            if not refused:
                await send(message)

        try:
            await self._app(scope, receive, noting)
        except BaseException:  # whoever hung up asked too: a cancellation is noted like a fault
            asked = scope.get(_SCOPE)
            if asked is not None and not answered:
                self._trail.add(asked.noted(scope, 500, None))
            raise

    async def _note(self, scope: Scope, message: Message) -> bool:
        """Say whether the answer may leave."""
        asked: Asked | None = scope.get(_SCOPE)
        if asked is None or asked.action in UNAUDITED:
            return True
        status = message["status"]
        position = next((value.decode() for name, value in message["headers"] if name == _POSITION), None)
        noted = asked.noted(scope, status, position)
        if status >= 400 or (position is not None and noted.method != "GET"):
            self._trail.add(noted)
            return True
        try:
            await self._trail.write(noted)
        except NotNoted:
            return False
        return True


_POSITION = POSITION.lower().encode()


async def _refuse(send: Send) -> None:
    problem = Problem(AUDIT_UNAVAILABLE)
    headers = {"Content-Type": MEDIA_TYPE, **problem.headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.kind.status, "headers": raw})
    await send({"type": "http.response.body", "body": problem.body})
