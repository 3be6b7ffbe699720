"""What the staff's pages ask of the gateway, passed on in the name of who asks, and of nobody else."""

from typing import Final

import httpx
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from schemas.words import MAX_RECORD_BYTES
from services.board.metrics import BoardMetrics

_WITHIN_S = 40.0  # the gateway waits for an outcome for 30 s at most
_NOUNS: Final = frozenset({"tokens", "doctors", "slots", "pools", "departments", "commands", "operations", "patients"})
_THERE = ("authorization", "content-type", "idempotency-key", "prefer", "opd-position", "opd-patient-id")
_BACK = ("content-type", "idempotency-key", "idempotency-replayed", "opd-position", "location", "retry-after")


class Passing:
    """Passes requests on and answers back."""

    def __init__(self, http: httpx.AsyncClient, metrics: BoardMetrics) -> None:
        self._http, self._metrics = http, metrics

    async def answer(self, request: Request) -> Response:
        """Give the gateway's answer to `/api/…`."""
        answer = await self._answer(request)
        self._metrics.passed.labels(str(answer.status_code)).inc()
        return answer

    async def _answer(self, request: Request) -> Response:
        if "authorization" not in request.headers:
            # To a gateway in development mode a request of ours without a token would be an administrator's.
            return problem(401, "Who calls is not proven")
        if request.path_params["path"].partition("/")[0] not in _NOUNS:
            return problem(404, "There is no such thing")
        body = await _body(request)
        if body is None:
            return problem(413, "The request's body is too large")
        return await self.ask(request, request.scope["raw_path"].removeprefix(b"/api"), body)

    async def ask(self, request: Request, raw_path: bytes, body: bytes = b"") -> Response:
        """Ask the gateway for a path, as this request asks us."""
        query = request.scope["query_string"]
        url = self._http.base_url.copy_with(raw_path=raw_path + (b"?" + query if query else b""))
        headers = {name: request.headers[name] for name in _THERE if name in request.headers}
        try:
            answer = await self._http.request(
                request.method, url, content=body, headers=headers, timeout=httpx.Timeout(_WITHIN_S, connect=5)
            )
        except httpx.HTTPError:
            return problem(503, "The gateway cannot be reached: it is not known whether anything was done")
        told = {name: answer.headers[name] for name in _BACK if name in answer.headers}
        return Response(answer.content, answer.status_code, told)


def problem(status: int, title: str) -> Response:
    """Give a refusal as the gateway would."""
    described = {"type": "about:blank", "title": title, "status": status}
    return Response(to_json(described), status, media_type="application/problem+json")


async def _body(request: Request) -> bytes | None:
    """Give the body; None if it is larger than a command may be."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_RECORD_BYTES:
            return None
    return bytes(body)
