"""The gateway, as the board reads it: in the board's own name, which sees no patient."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple

import httpx
from httpx_sse import aconnect_sse
from pydantic_core import from_json

_ANSWERS_WITHIN_S = 10.0
_SILENT_AT_MOST_S = 40.0  # the gateway sends a comment every 15 s
_PAGE = 200


class GatewayUnavailable(Exception):  # noqa: N818  it is what happened
    """It does not answer, or not with what was asked for: the text says which."""


class NothingThere(GatewayUnavailable):
    """It answers that there is no such thing."""


class Event(NamedTuple):
    """One event.

    Attributes:
        id: its place in the log.
        type: `TokenCalled`, …
        time: of its command, RFC 3339.
        data: its data, without patients.
    """

    id: str
    type: str
    time: str
    data: dict[str, Any]


class Gateway:
    """Reads what anybody may be shown."""

    def __init__(self, http: httpx.AsyncClient, token: Callable[[], str]) -> None:
        """Nothing is asked yet.

        Args:
            http: a client with the gateway's address.
            token: gives the board's JSON Web Token, anew for each request.
        """
        self._http, self._token = http, token

    async def position(self, facility_id: str, department_id: str, *, after: str | None = None) -> str:
        """Give the last event of a department that the other methods show for sure, once it is this one or a later one.

        Raises:
            NothingThere: the department has no doctor.
            GatewayUnavailable: it cannot be said.
        """
        headers = {} if after is None else {"OPD-Position": after}
        answer = await self._get("/departments", {"facility_id": facility_id}, headers)
        for each in answer["departments"]:
            if each["department_id"] == department_id:
                return str(each["position"])
        raise NothingThere("no such department")

    async def doctors(self, facility_id: str, department_id: str) -> list[dict[str, Any]]:
        """Give a department's doctors, in the order of their registration."""
        asked = {"facility_id": facility_id, "department_id": department_id}
        found: list[dict[str, Any]] = (await self._get("/doctors", asked))["doctors"]
        return found

    async def pool(self, facility_id: str, department_id: str, date: str, slot: str) -> dict[str, Any]:
        """Give the seats of a pool."""
        found: dict[str, Any] = await self._get(f"/pools/{facility_id}/{department_id}/{date}/{slot}")
        return found

    async def tokens(self, facility_id: str, department_id: str, date: str) -> AsyncIterator[dict[str, Any]]:
        """Give a department's tokens of a day."""
        asked = {"facility_id": facility_id, "department_id": department_id, "date": date, "limit": f"{_PAGE}"}
        while True:
            page = await self._get("/tokens", asked)
            for token in page["tokens"]:
                yield token
            if "next" not in page:
                return
            asked["cursor"] = page["next"]

    async def token(self, token_id: str) -> dict[str, Any]:
        """Give one token, with its story."""
        found: dict[str, Any] = await self._get(f"/tokens/{token_id}")
        return found

    async def events(self, facility_id: str, department_id: str, last_id: str) -> AsyncGenerator[Event | None]:
        """Give a department's events behind one, as they come, None when they begin to; until the gateway ends it.

        Raises:
            NothingThere: the log is another one: that event is not of this department.
            GatewayUnavailable: it cannot be reached, or broke off.
        """
        asked = {"facility_id": facility_id, "department_id": department_id}
        headers = {**self._headers(), "Last-Event-ID": last_id}
        timeout = httpx.Timeout(_ANSWERS_WITHIN_S, read=_SILENT_AT_MOST_S)
        try:
            async with aconnect_sse(
                self._http, "GET", "/events", params=asked, headers=headers, timeout=timeout
            ) as source:
                _check(source.response)
                yield None
                async for each in source.aiter_sse():
                    if not each.data:  # that the gateway says how soon to come back is no event
                        continue
                    event = from_json(each.data)
                    yield Event(event["id"], event["type"][4:-3], event["time"], event["data"])
        except httpx.HTTPError as error:
            raise GatewayUnavailable(type(error).__name__) from error

    async def _get(
        self, path: str, asked: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        headers = {**self._headers(), **(headers or {})}
        try:
            answer = await self._http.get(path, params=asked, headers=headers, timeout=_ANSWERS_WITHIN_S)
        except httpx.HTTPError as error:
            raise GatewayUnavailable(type(error).__name__) from error
        _check(answer)
        return from_json(answer.content)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token()}"}


def _check(answer: httpx.Response) -> None:
    if answer.status_code in {404, 422}:
        raise NothingThere(f"HTTP {answer.status_code}")
    if answer.status_code != 200:
        raise GatewayUnavailable(f"HTTP {answer.status_code}")
