"""What every answer says to the browser: nothing from elsewhere, nothing inline, nothing told to others."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_SAID = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a patient's link is a secret
    "Cross-Origin-Opener-Policy": "same-origin",
}


class StrictHeaders:
    """Adds them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with these headers."""

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in _SAID.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-cache")  # asked again each time, and answered with 304
                message = {**message, "headers": headers.raw}
            await send(message)

        await self._app(scope, receive, strict if scope["type"] == "http" else send)
