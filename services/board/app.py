"""The board as a Starlette application: pages, what they listen to, and what they ask."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date as calendar_date
from pathlib import Path
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from services.board.channel import states
from services.board.following import Followings, TooMany, Which
from services.board.gateway import Gateway, GatewayUnavailable, NothingThere
from services.board.headers import StrictHeaders
from services.board.links import as_qr, is_code_of, path_of
from services.board.metrics import BoardMetrics
from services.board.passing import Passing, problem

HERE = Path(__file__).parent
PAGES: Final = ("hall", "kiosk", "desk", "room", "operations")
MAX_STREAMS = 20_000
MAX_DEPARTMENTS = 20  # of one screen
ALIVE_EVERY_S = 10
READ_WITHIN_S = 30
_NAME = re.compile(r"[a-z0-9-]{1,32}")
_TOKEN = re.compile(r"([a-z0-9-]{1,32})\.([a-z0-9-]{1,32})\.([0-9]{4})([0-9]{2})([0-9]{2})\.([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Parts:
    """What the pages work with.

    Attributes:
        links: the key of the patients' links.
        url: under which address phones find the board; None: under the one that it was asked at.
    """

    gateway: Gateway
    followings: Followings
    passing: Passing
    metrics: BoardMetrics
    links: bytes
    url: str | None


def make_app(parts: Parts) -> Starlette:
    """Give the application, working with these parts."""
    board = _Board(parts)
    routes = [
        Route("/", _page("start")),
        *(Route(f"/{name}", _page(name)) for name in PAGES),
        Route("/follow/{token_id}/{code}", board.follow),
        Route("/follow/{token_id}/{code}/story", board.story),
        Route("/follow/{token_id}/{code}/qr.svg", board.qr),
        Route("/live/{facility_id}", board.live),
        Route("/live/follow/{token_id}/{code}", board.live_token),
        Route("/links/{token_id}", board.link),
        Route("/api/{path:path}", parts.passing.answer, methods=["GET", "POST", "PUT"]),
        Route("/health/live", board.is_live),
        Route("/health/ready", board.is_live),
        Route("/metrics", board.metrics),
        Mount("/static", StaticFiles(directory=HERE / "static")),
        Mount("/texts", StaticFiles(directory=HERE / "texts")),
    ]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        ending = asyncio.create_task(parts.followings.end_the_unread())
        try:
            yield
        finally:
            ending.cancel()
            await parts.followings.close()

    return Starlette(routes=routes, middleware=[Middleware(StrictHeaders)], lifespan=lifespan)


def _page(name: str, status: int = 200) -> Callable[[Request], Response]:
    def page(_request: Request) -> Response:
        return FileResponse(HERE / "pages" / f"{name}.html", status)

    return page


class _Board:
    """The endpoints."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._streams = 0

    async def live(self, request: Request) -> Response:
        """The departments' days, as they change: `?date=…&department=…`, the latter as often as wished."""
        facility_id, day = request.path_params["facility_id"], request.query_params.get("date", "")
        departments = request.query_params.getlist("department")
        names = [facility_id, *departments]
        if not departments or len(names) > MAX_DEPARTMENTS or not all(map(_NAME.fullmatch, names)) or not _is_date(day):
            return problem(422, "A facility, a date, and 1 to 20 departments")
        whose = [Which(facility_id, department_id, day) for department_id in departments]
        return await self._stream(request, whose, None)

    async def live_token(self, request: Request) -> Response:
        """One token, as it and its place change."""
        which = self._followed(request)
        if which is None:
            return problem(404, "There is no such link")
        return await self._stream(request, [which], int(request.path_params["token_id"].rpartition(".")[2]))

    async def follow(self, request: Request) -> Response:
        """The page of whoever was given a token's link."""
        return _page("follow", 200 if self._followed(request) else 404)(request)

    async def story(self, request: Request) -> Response:
        """What happened to the token, and when it may be called; nothing that says whose it is."""
        which = self._followed(request)
        if which is None:
            return problem(404, "There is no such link")
        try:
            token = await self._parts.gateway.token(request.path_params["token_id"])
            async with self._parts.followings.reading(which) as following:
                met = {event.get("doctor_id") for event in token["story"]}
                token["doctors"] = {each: name for each, name in following.names.items() if each in met}
            return JSONResponse(token)
        except TooMany:
            return _too_many()
        except NothingThere:
            return problem(404, "There is no such token")
        except GatewayUnavailable:
            return problem(503, "The gateway cannot be reached")

    async def qr(self, request: Request) -> Response:
        """The link, for a phone's camera."""
        if self._followed(request) is None:
            return problem(404, "There is no such link")
        url = self._url(request) + request.url.path.removesuffix("/qr.svg")
        return Response(as_qr(url), media_type="image/svg+xml")

    async def link(self, request: Request) -> Response:
        """The link of a token, for whoever may read the token."""
        token_id = request.path_params["token_id"]
        if "authorization" not in request.headers or _TOKEN.fullmatch(token_id) is None:
            return problem(404, "There is no such token")
        answer = await self._parts.passing.ask(request, f"/tokens/{token_id}".encode())
        if answer.status_code != 200:
            return answer
        path = path_of(token_id, self._parts.links)
        return JSONResponse({"url": self._url(request) + path, "qr": f"{path}/qr.svg"})

    async def is_live(self, _request: Request) -> Response:
        """It runs; screens show what they know without the gateway, too, and that it is old."""
        return JSONResponse({"status": "ok"})

    async def metrics(self, _request: Request) -> Response:
        """What was counted."""
        return Response(generate_latest(self._parts.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    def _followed(self, request: Request) -> Which | None:
        """Give the day of the token whose link was asked for; None if it is no link of ours."""
        token_id, code = request.path_params["token_id"], request.path_params["code"]
        found = _TOKEN.fullmatch(token_id)
        if found is None or not is_code_of(token_id, code, self._parts.links):
            return None
        facility_id, department_id, *day, _ = found.groups()
        return Which(facility_id, department_id, "-".join(day))

    def _url(self, request: Request) -> str:
        return (self._parts.url or str(request.base_url)).rstrip("/")

    async def _stream(self, request: Request, whose: list[Which], number: int | None) -> Response:
        if self._streams >= MAX_STREAMS:
            return _too_many()
        try:
            self._parts.followings.begin(whose)
        except TooMany:
            return _too_many()
        return EventSourceResponse(
            self._states(whose, number, request.headers.get("last-event-id")),
            ping=ALIVE_EVERY_S,
            ping_message_factory=lambda: ServerSentEvent(event="alive", data=""),
            send_timeout=READ_WITHIN_S,
            sep="\n",
        )

    async def _states(self, whose: list[Which], number: int | None, last_id: str | None) -> AsyncGenerator[bytes]:
        self._streams += 1
        self._parts.metrics.streams.inc()
        try:
            async with AsyncExitStack() as stack:
                read = [await stack.enter_async_context(self._parts.followings.reading(which)) for which in whose]
                channels = [each.channel if number is None else each.token(number) for each in read]
                async for chunk in states(channels, last_id):
                    yield chunk
        finally:
            self._streams -= 1
            self._parts.metrics.streams.dec()


def _too_many() -> Response:
    answer = problem(503, "Too many listen")
    answer.headers["Retry-After"] = "5"
    return answer


def _is_date(text: str) -> bool:
    try:
        return calendar_date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
