"""Who the board is for the gateway, and what its links are made with."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog

from services.errors import OpdError
from services.gateway.keys import DEVELOPMENT_SECRET, LOOPBACK, sign_for_development
from services.settings import Settings

_log = structlog.stdlib.get_logger(__name__)

_LEAST_KEY_BYTES = 32


class Keys(NamedTuple):
    """What proves something.

    Attributes:
        token: gives the board's own JSON Web Token, as it is now.
        links: the key of the links of patients.
    """

    token: Callable[[], str]
    links: bytes


class Misfit(OpdError):  # noqa: N818  it is what it is
    """The settings do not fit together."""

    exit_code = 2


def keys_of(settings: Settings) -> Keys:
    """Give what the settings name; without any, what is for development alone.

    Raises:
        Misfit: one is there without the other, cannot be read, or development is open to others.
    """
    token_file, key_file = settings.board_token_file, settings.board_key_file
    if token_file is None and key_file is None:
        if settings.http_host not in LOOPBACK:
            raise Misfit(
                f"in development mode links can be guessed: {settings.http_host} is refused\n"
                "try: set OPD_BOARD_TOKEN_FILE and OPD_BOARD_KEY_FILE, or leave OPD_HTTP_HOST at 127.0.0.1"
            )
        _log.warning("development mode: anybody can make patients' links; set OPD_BOARD_KEY_FILE to end that")
        return Keys(_development_token, DEVELOPMENT_SECRET.encode())
    if token_file is None or key_file is None:
        raise Misfit("OPD_BOARD_TOKEN_FILE and OPD_BOARD_KEY_FILE go together: set both, or neither for development")
    _read(token_file)
    links = _read(key_file).encode()
    if len(links) < _LEAST_KEY_BYTES:
        raise Misfit(f"OPD_BOARD_KEY_FILE holds less than {_LEAST_KEY_BYTES} bytes\ntry: openssl rand -hex 32")
    # The token expires: whoever renews it replaces the file.
    return Keys(lambda: _read(token_file), links)


def _development_token() -> str:
    return sign_for_development({"sub": "board", "role": "auditor", "facilities": "*"}, hours=1)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise Misfit(f"{file} cannot be read: {error.strerror}") from error
