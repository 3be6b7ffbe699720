"""The walk-ins of one department, who ask at the gateway: their kiosk knows no Kafka."""

import asyncio
import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from pydantic_core import from_json

from schemas.words import Source
from services.errors import OpdError
from services.simulator.department import Posting

_ANSWERS_WITHIN_S = 30


class NoAnswer(OpdError):  # noqa: N818  it is what it is
    """The gateway did not take a booking."""


class FrontDoor:
    """A gateway, and who uses it.

    Attributes:
        key: the department's.
        asked: how many have asked so far.
    """

    def __init__(self, url: str, key: bytes) -> None:
        self.key = key
        self.asked = 0
        self._url = url

    def takes(self, posting: Posting) -> bool:
        """Say whether it is a walk-in's request."""
        if posting.key != self.key or posting.type != "RequestToken":
            return False
        source: str = from_json(posting.value or b"")["data"]["source"]
        return source == Source.WALK_IN

    async def ask(self, posting: Posting) -> tuple[int, int]:
        """Ask for the token, wait for what becomes of it, and give where the command stands: partition and offset.

        Raises:
            NoAnswer: the gateway failed.
        """
        self.asked += 1
        return await asyncio.to_thread(self._post, posting)

    def _post(self, posting: Posting) -> tuple[int, int]:
        body = json.dumps(from_json(posting.value or b"")["data"]).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": posting.id}
        try:
            with urlopen(Request(f"{self._url}/tokens", body, headers), timeout=_ANSWERS_WITHIN_S) as answer:  # noqa: S310
                position = answer.headers["OPD-Position"]
        except HTTPError as refused:
            with refused:
                position = refused.headers["OPD-Position"]  # of a command that was refused with a reason
                if position is None:
                    raise NoAnswer(
                        f"the gateway at {self._url} answered {refused.code}\ntry: look into its log"
                    ) from None
        except OSError as error:
            raise NoAnswer(f"the gateway at {self._url} failed: {error}\ntry: look into its log") from error
        partition, offset, _ = position.split("-")
        return int(partition), int(offset)
