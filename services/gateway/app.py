"""The gateway as a FastAPI application."""

from functools import cache, partial

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from services.gateway.audited import Audited
from services.gateway.guard import Guard
from services.gateway.openapi import describe
from services.gateway.parts import Parts
from services.gateway.problems import (
    INTERNAL,
    INVALID_REQUEST,
    MEDIA_TYPE,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    VAULT_UNAVAILABLE,
    Problem,
)
from services.gateway.quick import QuickRoute, Shortcut
from services.gateway.requests import field_faults
from services.gateway.routes import (
    commands,
    departments,
    doctors,
    events,
    health,
    operations,
    patients,
    problems,
    slots,
    tokens,
)
from services.vault.keys import Unreadable
from services.vault.vault import VaultUnavailable

_log = structlog.stdlib.get_logger(__name__)

_ROUTERS = (tokens, doctors, slots, departments, patients, commands, events, operations, problems, health)
_ABOUT = """
A write becomes a command on the log, and is answered with what became of it.

- `Idempotency-Key`: the same request again gives the first answer, however often, also after a failure.
- `Prefer: wait=N`: how long to wait; later: 202, and `Location` says where to ask.
- `OPD-Position` of an answer, sent with a GET, makes that GET see what the answer told of.
- A refusal is a problem (RFC 9457); its `type` is an address here that says what it means.
"""


def make_app(parts: Parts) -> FastAPI:
    """Give the application, working with these parts."""
    app = FastAPIOffline(
        redoc_url=None,
        title="OPD gateway",
        version="1",
        summary="Outpatient tokens over HTTP.",
        description=_ABOUT,
        # FastAPI's own would tell what was refused, values and all. Ours are made at the door.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.parts = parts
    for module in _ROUTERS:
        app.include_router(module.router)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(Exception, _fault)
    routes = [route for module in _ROUTERS for route in module.router.routes if isinstance(route, QuickRoute)]
    app.add_middleware(Shortcut, routes=routes, handlers=_HANDLERS)
    app.add_middleware(Audited, trail=parts.trail)
    app.add_middleware(Guard, metrics=parts.metrics, limits=parts.limits, spans=parts.spans)
    app.openapi = cache(partial(describe, app))  # type: ignore[method-assign]  # FastAPI's own way
    return app


def _answer(problem: Problem) -> Response:
    return Response(problem.body, problem.kind.status, problem.headers, MEDIA_TYPE)


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  as it was registered
    return _answer(error)


async def _no_vault(_request: Request, error: Exception) -> Response:
    if isinstance(error, Unreadable):
        _log.error("the vault and its keys do not belong together", error=str(error))
    return _answer(Problem(VAULT_UNAVAILABLE))


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  as it was registered
    return _answer(Problem(INVALID_REQUEST, errors=field_faults(error.errors())))


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  as it was registered
    kind = METHOD_NOT_ALLOWED if error.status_code == METHOD_NOT_ALLOWED.status else NOT_FOUND
    return _answer(Problem(kind, headers=error.headers))


_HANDLERS = {
    Problem: _problem,
    VaultUnavailable: _no_vault,
    Unreadable: _no_vault,
    RequestValidationError: _invalid,
    HTTPException: _http,
}


async def _fault(request: Request, error: Exception) -> Response:
    route = getattr(request.scope.get("route"), "path", "other")
    _log.error("a request failed", route=route, exc_info=error)
    return _answer(Problem(INTERNAL))
