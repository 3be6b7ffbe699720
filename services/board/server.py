"""One board as a process."""

import logging
import resource
from contextlib import suppress

import httpx
import uvicorn

from services.board.app import Parts, make_app
from services.board.following import Followings, Rooms
from services.board.gateway import Gateway
from services.board.keys import Keys, keys_of
from services.board.metrics import BoardMetrics
from services.board.passing import Passing
from services.board.rooms import read_rooms
from services.gateway.protocol import LimitedProtocol
from services.serving import run_service, serve
from services.settings import Settings

_STOP_WITHIN_S = 15


def run_board(settings: Settings) -> None:
    """Run one board in this process, whose signals it takes over.

    Raises:
        OpdError: it cannot begin.
    """
    keys, rooms = keys_of(settings), read_rooms(settings.board_rooms)
    _let_many_connect()
    run_service(_run(settings, keys, rooms))


def _let_many_connect() -> None:
    """Allow as many connections as the machine lets a process have: what it begins with is often 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS says "unlimited" and takes less
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _run(settings: Settings, keys: Keys, rooms: Rooms) -> None:
    metrics = BoardMetrics()
    unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=20)  # each day has a stream of its own
    async with httpx.AsyncClient(base_url=settings.gateway_url, limits=unlimited, trust_env=False) as http:
        gateway = Gateway(http, keys.token)
        parts = Parts(
            gateway=gateway,
            followings=Followings(gateway, rooms, metrics),
            passing=Passing(http, metrics),
            metrics=metrics,
            links=keys.links,
            url=settings.board_url,
        )
        config = uvicorn.Config(
            make_app(parts),
            host=settings.http_host,
            port=settings.http_port or 0,
            http=LimitedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            log_level=logging.WARNING,
            server_header=False,
            backlog=8192,  # a hall full of phones comes back at once after a restart
            timeout_graceful_shutdown=_STOP_WITHIN_S,
        )
        await serve(uvicorn.Server(config), "board")
