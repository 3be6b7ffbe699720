"""A running `opd board` for tests, with all that is behind it."""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from zoneinfo import ZoneInfo

import httpx

from services.gateway.keys import sign_for_development
from services.settings import Settings
from tests.integration.gateways import WAITS, Running, RunningGateway
from tests.screens.hospital import Hospital
from tests.waiting import until


class Addresses:
    """The pages of a board that runs.

    Attributes:
        url: where it is.
        http: a client of it.
        gateway_http: a client of the gateway behind it, as somebody who may do everything.
        zone: the time zone of the hospitals.
    """

    def __init__(self, url: str, gateway_url: str, zone: str) -> None:
        self.url, self.zone = url, zone
        self.http = httpx.Client(base_url=url, timeout=60)
        self.gateway_http = httpx.Client(base_url=gateway_url, headers=WAITS, timeout=60)

    def close(self) -> None:
        """Ask nothing any more."""
        self.http.close()
        self.gateway_http.close()

    def hospital(self, name: str | None = None) -> Hospital:
        """Give a facility of one test's own, today."""
        day = datetime.now(ZoneInfo(self.zone)).date()
        return Hospital(self.gateway_http, name or f"h-{uuid.uuid4().hex[:8]}", day)

    def page(self, name: str, hospital: Hospital, department_id: str = "cardiology", **more: str) -> str:
        """Give the address of a page, for a day of a department; with `role`, signed in."""
        claims = {key: more.pop(key) for key in ("role", "doctor_id") if key in more}
        asked = {"facility": hospital.facility_id, "department": department_id, "date": hospital.day, "lang": "en"}
        return f"{self.url}/{name}?{urlencode(asked | more)}" + (f"#token={token_for(**claims)}" if claims else "")

    def link(self, token_id: str) -> str:
        """Give the patient's link of a token, as a desk is given it, once the token is to be read."""
        signed_in = {"Authorization": f"Bearer {token_for('reception')}"}

        def ask() -> httpx.Response:
            return self.http.get(f"/links/{token_id}", headers=signed_in)

        until(lambda: ask().status_code == 200, "the token has a link")
        return str(ask().json()["url"])

    def estimate(self, link: str) -> dict[str, str]:
        """Give when the token of a link is told to be called, once it is known how long one takes."""

        def told() -> dict[str, str] | None:
            found: dict[str, Any] = self.http.get(f"{urlsplit(link).path}/story").json()
            return found.get("estimate")

        until(told, "it is known how long one takes")
        return told() or {}


class RunningBoard(Addresses):
    """`opd board` as a process of the tests.

    Attributes:
        service: the process, which may be killed and started again.
        gateway: what it asks; likewise.
    """

    def __init__(self, service: Running, gateway: RunningGateway) -> None:
        super().__init__(service.url, gateway.url, gateway.settings.time_zone)
        self.service, self.gateway = service, gateway


def token_for(role: str, **claims: str) -> str:
    """Give a token of a gateway in development."""
    return sign_for_development({"sub": f"the-{role}", "role": role, "facilities": "*", **claims}, hours=1)


@contextmanager
def running_board(settings: Settings, gateway: RunningGateway, folder: Path) -> Iterator[RunningBoard]:
    """Run one behind a gateway."""
    service = Running("board", settings.model_copy(update={"gateway_url": gateway.url}), folder)
    with closing(RunningBoard(service, gateway)) as board:
        try:
            service.start()
            service.wait()
            yield board
        finally:
            service.stop()
