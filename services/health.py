"""What a service answers over HTTP that has nothing else to say: `/health/live`, `/health/ready`, `/metrics`."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Asked = Callable[[], tuple[bool, dict[str, Any]]]
App = Callable[[Any, Any, Any], Awaitable[None]]


def health_app(live: Asked, ready: Asked, registry: CollectorRegistry) -> App:
    """Give the ASGI application: 200 where it is well, 503 where not, with what `live` and `ready` say besides."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        status, kind, body = 404, b"text/plain", b""
        match scope["path"]:
            case "/health/live":
                status, kind, body = _answer(*live())
            case "/health/ready":
                status, kind, body = _answer(*ready())
            case "/metrics":
                status, kind, body = 200, CONTENT_TYPE_LATEST.encode(), generate_latest(registry)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})

    return app


def _answer(is_well: bool, details: dict[str, Any]) -> tuple[int, bytes, bytes]:
    body = json.dumps({"status": "ok" if is_well else "unavailable", **details}).encode()
    return 200 if is_well else 503, b"application/json", body
