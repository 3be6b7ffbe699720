"""The pages' addresses, for whoever starts a system and wants to look at it."""

from collections.abc import Iterable
from urllib.parse import urlencode

from services.gateway.keys import sign_for_development
from services.settings import Settings

_SIGNED_IN_HOURS = 12


def start_page(board_url: str, facility_id: str, settings: Settings) -> str:
    """Give the address of the page that leads to a hospital's others.

    With a gateway in development it signs in an administrator: by the fragment, which no server sees and no log keeps.
    """
    address = f"{board_url}/?{urlencode({'facility': facility_id})}"
    if settings.jwt_jwks is not None:
        return address
    claims = {"sub": "development", "role": "admin", "facilities": "*"}
    return f"{address}#token={sign_for_development(claims, hours=_SIGNED_IN_HOURS)}"


def hall(board_url: str, facility_id: str, departments: Iterable[str], date: str) -> str:
    """Give the address of the display of a day of some departments."""
    asked = [("facility", facility_id), *(("department", each) for each in departments), ("date", date)]
    return f"{board_url}/hall?{urlencode(asked)}"
