"""Routes of ours answer as FastAPI's own do, whatever is asked; only the way through is shorter."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from itertools import product
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Path, Query, Request, Response, Security
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

from services.gateway.openapi import describe
from services.gateway.quick import QuickRoute, Shortcut
from services.gateway.requests import field_faults
from services.gateway.routes import commands, departments, doctors, events, problems, slots, tokens

Id = Annotated[str, Field(pattern="^[a-z]{1,4}$")]
BEARER = HTTPBearer(auto_error=False)


class Colour(StrEnum):
    RED = "red"


class Found(BaseModel):
    id: str
    limit: int
    colour: Colour | None = None
    key: str | None = None
    who: str | None = None
    calls: int


async def count(request: Request) -> int:
    request.state.calls = getattr(request.state, "calls", 0) + 1
    calls: int = request.state.calls
    return calls


async def who(
    calls: Annotated[int, Depends(count)],
    shown: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
    x_key: Annotated[str | None, Header(pattern="^[a-z]+$")] = None,
) -> str | None:
    assert calls == 1
    if x_key == "forbidden":
        raise HTTPException(403)
    return None if shown is None else shown.credentials


async def check(x_key: Annotated[str | None, Header(max_length=9)] = None) -> None:
    if x_key == "gone":
        raise HTTPException(410)


async def read(  # noqa: PLR0917  one of each kind
    calls: Annotated[int, Depends(count)],
    id: Annotated[Id, Path()],  # noqa: A002  a name as any other
    caller: Annotated[str | None, Depends(who)],
    colour: Colour | None = None,
    limit: Annotated[int, Query(ge=1, le=9)] = 5,
    x_key: Annotated[str | None, Header()] = None,
) -> Found:
    return Found(id=id, limit=limit, colour=colour, key=x_key, who=caller, calls=calls)


async def text(request: Request, must: Annotated[str, Query(max_length=3)]) -> Response:
    return Response(f"{request.method} {must}", 202)


async def answer(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return JSONResponse([each.model_dump() for each in field_faults(error.errors())], 422)


async def refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return await http_exception_handler(request, error)


def app_of(route: type[APIRoute], *, with_shortcut: bool = False) -> FastAPI:
    router = APIRouter(route_class=route)
    router.add_api_route("/things/{id}", read, dependencies=[Depends(check)], response_model_exclude_none=True)
    router.add_api_route("/text", text, methods=["POST"], response_class=Response)
    app = FastAPI()
    app.include_router(router)
    app.add_exception_handler(RequestValidationError, answer)
    if with_shortcut:
        routes = [each for each in router.routes if isinstance(each, QuickRoute)]
        handlers = {RequestValidationError: answer, HTTPException: refuse}
        app.add_middleware(Shortcut, routes=routes, handlers=handlers)
    return app


REQUESTS = [
    *(
        ("GET", f"/things/{id}", {name: value for name, value in query.items() if value is not None}, headers)
        for id, limit, colour, headers in product(  # noqa: A001
            ["ab", "A", "abcde"],
            [None, "9", "10", "x", ""],
            [None, "red", "blue"],
            [
                {},
                {"x-key": "ab"},
                {"x-key": "A1"},
                {"x-key": "forbidden"},
                {"x-key": "gone"},
                {"x-key": "much-too-long"},
                {"authorization": "Bearer me"},
                {"authorization": "Basic me"},
            ],
        )
        for query in [{"limit": limit, "colour": colour}]
    ),
    *(("POST", "/text", query, {}) for query in ({}, {"must": ""}, {"must": "abc"}, {"must": "abcd"})),
    ("POST", "/things/ab", {}, {}),
    ("GET", "/nothing", {}, {}),
]


@pytest.mark.parametrize("with_shortcut", [False, True], ids=["by FastAPI", "by the shortcut"])
def test_both_answer_alike(with_shortcut: bool) -> None:
    async def run() -> None:
        quick, ordinary = (
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
            for app in (app_of(QuickRoute, with_shortcut=with_shortcut), app_of(APIRoute))
        )
        statuses = set()
        async with quick, ordinary:
            for method, path, query, headers in REQUESTS:
                got = await quick.request(method, path, params=query, headers=headers)
                expected = await ordinary.request(method, path, params=query, headers=headers)
                assert (got.status_code, got.text) == (expected.status_code, expected.text), (path, query, headers)
                assert got.headers == expected.headers
                statuses.add(got.status_code)
        assert statuses == {200, 202, 403, 404, 405, 410, 422}

    asyncio.run(run())


async def _with_a_response(response: Response) -> Found:
    response.headers["X"] = "1"
    return Found(id="a", limit=1, calls=0)


async def _with_many(names: Annotated[list[str], Query()]) -> Response:
    return Response(",".join(names))


async def _with_a_body(found: Found) -> Response:
    return Response(found.id)


def _in_a_thread() -> Response:
    return Response("here")


@pytest.mark.parametrize("endpoint", [_with_a_response, _with_many, _with_a_body, _in_a_thread])
def test_what_it_does_not_know_it_leaves_to_fastapi(endpoint: Callable[..., Awaitable[Any] | Response]) -> None:
    route = QuickRoute("/", endpoint, methods=["POST"])
    assert route.get_route_handler().__module__ == "fastapi.routing"


@pytest.mark.parametrize(
    "how",
    [
        {"status_code": 201},
        {"response_model_exclude_unset": True},
        {"response_model_exclude_defaults": True},
        {"response_model_include": {"id"}},
        {"response_model_exclude": {"id"}},
    ],
    ids=lambda how: next(iter(how)),
)
def test_answers_that_are_made_otherwise_are_left_to_fastapi(how: dict[str, Any]) -> None:
    assert QuickRoute("/{id}", read, **how).get_route_handler().__module__ == "fastapi.routing"


def test_all_of_the_gateways_are_quick_and_documented_as_before() -> None:
    app = FastAPI()
    for module in (tokens, doctors, slots, departments, commands, events, problems):
        app.include_router(module.router)
        for route in module.router.routes:
            assert isinstance(route, QuickRoute)
            assert route.get_route_handler().__module__ == "services.gateway.quick", route.path
    booking = describe(app)["paths"]["/tokens"]["post"]
    assert {each["name"] for each in booking["parameters"]} == {"idempotency-key", "prefer"}
    assert booking["security"]


def test_the_shortcut_knows_what_it_led_to_and_passes_on_what_it_does_not_know() -> None:
    seen: list[dict[str, Any]] = []

    class Before:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)
            seen.append({"route": scope["route"].path, **scope["path_params"]})

    class Fault(Exception):  # noqa: N818  it is what it is
        pass

    async def fail(id: str) -> Response:  # noqa: A002  a name as any other
        raise Fault(id)

    async def run() -> None:
        router = APIRouter(route_class=QuickRoute)
        router.add_api_route("/things/{id}/parts/{part}", _with_two, response_class=Response)
        router.add_api_route("/faults/{id}", fail, response_class=Response)
        app = FastAPI()
        routes = [each for each in router.routes if isinstance(each, QuickRoute)]
        app.add_middleware(Shortcut, routes=routes, handlers={})  # it alone knows the routes
        app.add_middleware(Before)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            assert (await client.get("/things/a/parts/b%20c")).text == "a b c"
            with pytest.raises(Fault):
                await client.get("/faults/1")
        assert seen == [{"route": "/things/{id}/parts/{part}", "id": "a", "part": "b c"}]

    asyncio.run(run())


async def _with_two(id: str, part: str) -> Response:  # noqa: A002  a name as any other
    return Response(f"{id} {part}")
