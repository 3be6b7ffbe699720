"""What a service answers over HTTP that has nothing else to say: `/health/live`, `/health/ready`, `/metrics`."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from faststream.asgi import AsgiResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Asked = Callable[[], tuple[bool, dict[str, Any]]]
App = Callable[[Any, Any, Any], Awaitable[None]]


def health_app(live: Asked, ready: Asked, registry: CollectorRegistry) -> App:
    """Give the ASGI application: 200 where it is well, 503 where not, with what `live` and `ready` say besides."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        match scope["path"]:
            case "/health/live":
                answer = _answer(*live())
            case "/health/ready":
                answer = _answer(*ready())
            case "/metrics":
                headers = {"content-type": CONTENT_TYPE_LATEST}
                answer = AsgiResponse(generate_latest(registry), 200, headers=headers)
            case _:
                answer = AsgiResponse(b"", 404)
        await answer(scope, receive, send)

    return app


def _answer(is_well: bool, details: dict[str, Any]) -> AsgiResponse:
    body = json.dumps({"status": "ok" if is_well else "unavailable", **details}).encode()
    return AsgiResponse(body, 200 if is_well else 503, headers={"content-type": "application/json"})
