"""Tokens verified: JSON Web Tokens against the keys of a JWKS, or, for development alone, against a known secret."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import jwt
import structlog
from pydantic import ValidationError

from services.errors import OpdError
from services.gateway.identity import Identity
from services.gateway.permissions import Role
from services.settings import Settings

_log = structlog.stdlib.get_logger(__name__)

LEEWAY_S = 30
MAX_TOKEN_CHARACTERS = 8192
_MAX_JWKS_BYTES = 1024 * 1024
_FETCH_WITHIN_S = 5.0
_AGAIN_AFTER_S = 600.0  # a key that was withdrawn is trusted so much longer
_AT_MOST_EVERY_S = 10.0  # whatever key ids strangers invent
_LEAST_RSA_BITS = 2048
_MOST_KNOWN = 4096
_NOBODY = (0.0, None)

# Known to all the world: who holds it may do what whoever reaches the loopback of a development machine may do anyhow.
DEVELOPMENT_SECRET = "for development alone: everybody knows it"  # noqa: S105
DEVELOPMENT_ISSUER = "opd-development"
DEVELOPMENT_AUDIENCE = "opd"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
DEVELOPER = Identity(sub="development", role=Role.ADMIN, facilities="*")


class Key(NamedTuple):
    """One key, and the one algorithm that it is for: what the token says of it is compared, never believed."""

    algorithm: str
    key: Any


class InvalidToken(Exception):  # noqa: N818  it is what it is
    """The token proves nobody. The text says why, and repeats nothing of it."""


class KeysUnavailable(Exception):  # noqa: N818  it is what it is
    """There are no keys to verify by, for now."""


class Verifier:
    """Finds out who calls."""

    def __init__(self, read: Callable[[], dict[str, Key]], *, issuer: str, audience: str, anonymous: bool) -> None:
        """`development_verifier` and `jwks_verifier` make them.

        Args:
            read: gives the keys by their ids; it may block, and may raise OSError or ValueError.
            issuer: what `iss` must be.
            audience: what must be in `aud`.
            anonymous: whether who shows no token is a developer.
        """
        self._read = read
        self._issuer, self._audience, self._anonymous = issuer, audience, anonymous
        self._keys: dict[str, Key] = {}
        self._read_at = -_AGAIN_AFTER_S
        self._known: dict[str, tuple[float, Identity]] = {}  # by token: until when it is good, and whose it is
        self._one_at_a_time = asyncio.Lock()

    async def who(self, token: str | None) -> Identity:
        """Give who shows this token.

        Raises:
            InvalidToken: there is none, or it is not a good one.
            KeysUnavailable: it cannot be said.
        """
        if token is None:
            if self._anonymous:
                return DEVELOPER
            raise InvalidToken("there is no token")
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise InvalidToken("the token is too long")
        await self._refreshed(_AGAIN_AFTER_S)
        good_until, caller = self._known.get(token, _NOBODY)
        if caller is None or time.time() >= good_until:
            good_until, caller = await self._verified(token)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[token] = good_until, caller
        return caller

    async def ready(self) -> bool:
        """Say whether there are keys."""
        try:
            await self._refreshed(_AGAIN_AFTER_S)
        except KeysUnavailable:
            return False
        return True

    async def _verified(self, token: str) -> tuple[float, Identity]:
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            return float(claims["exp"]) + LEEWAY_S, Identity.model_validate(claims)
        except jwt.PyJWTError as error:
            raise InvalidToken(f"the token is refused: {_reason(error)}") from None
        except ValidationError as error:
            names = ", ".join(sorted({str(each["loc"][0]) if each["loc"] else "role" for each in error.errors()}))
            raise InvalidToken(f"the token's claims are wrong: {names}") from None

    async def _key(self, key_id: object) -> Key:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if key_id not in self._keys:
            await self._refreshed(_AT_MOST_EVERY_S)
        try:
            return self._keys[str(key_id)]
        except KeyError:
            raise InvalidToken("the token's key is not known") from None

    async def _refreshed(self, older_than_s: float) -> None:
        if time.monotonic() - self._read_at < older_than_s:
            return
        async with self._one_at_a_time:
            if time.monotonic() - self._read_at < min(older_than_s, _AT_MOST_EVERY_S):
                return
            try:
                self._keys = await asyncio.to_thread(self._read)
            except (OSError, ValueError) as error:
                _log.warning("the keys cannot be read", error=type(error).__name__)
                if not self._keys:
                    raise KeysUnavailable from error
            else:
                self._known.clear()  # a key may have been withdrawn
            self._read_at = time.monotonic()


def sign_for_development(claims: Mapping[str, Any], *, hours: float) -> str:
    """Give a token that a gateway in development mode takes; no other one does."""
    now = int(time.time())
    said = {
        **claims,
        "iss": DEVELOPMENT_ISSUER,
        "aud": DEVELOPMENT_AUDIENCE,
        "iat": now,
        "exp": now + int(hours * 3600),
    }
    return jwt.encode(said, DEVELOPMENT_SECRET, algorithm="HS256", headers={"kid": "development"})


def verifier(settings: Settings) -> Verifier:
    """Give the verifier that the settings ask for.

    Raises:
        OpdError: the settings do not fit together.
    """
    if settings.jwt_jwks is None:
        return _development_verifier()
    if settings.jwt_issuer is None:
        raise SettingsMisfit("OPD_JWT_JWKS is set and OPD_JWT_ISSUER is not: say whose tokens are trusted")
    jwks = settings.jwt_jwks
    return Verifier(
        lambda: read_jwks(_fetch(jwks)), issuer=settings.jwt_issuer, audience=settings.jwt_audience, anonymous=False
    )


class SettingsMisfit(OpdError):  # noqa: N818  it is what it is
    """Each setting is well, and together they are not."""

    exit_code = 2


def _development_verifier() -> Verifier:
    keys = {"development": Key("HS256", DEVELOPMENT_SECRET)}
    return Verifier(lambda: keys, issuer=DEVELOPMENT_ISSUER, audience=DEVELOPMENT_AUDIENCE, anonymous=True)


def read_jwks(document: bytes) -> dict[str, Key]:
    """Give the keys of a JSON Web Key Set by id: RSA ones for RS256, P-256 ones for ES256; others are passed over.

    Raises:
        ValueError: it is none, or holds no key for us.
    """
    keys: dict[str, Key] = {}
    for number, described in enumerate(json.loads(document)["keys"]):
        algorithm = {"RSA": "RS256", "EC": "ES256"}.get(described.get("kty"))
        wanted = described.get("alg", algorithm) == algorithm and described.get("use", "sig") == "sig"
        if algorithm is None or not wanted or described.get("crv", "P-256") != "P-256":
            continue
        try:
            key = jwt.PyJWK(described, algorithm=algorithm).key
        except jwt.PyJWTError as error:
            raise ValueError(f"key {number} is none") from error
        if algorithm == "RS256" and key.key_size < _LEAST_RSA_BITS:
            raise ValueError(f"key {number} has less than {_LEAST_RSA_BITS} bits")
        keys[str(described.get("kid", number))] = Key(algorithm, key)
    if not keys:
        raise ValueError("no RSA and no P-256 key in it")
    return keys


def _fetch(place: str) -> bytes:
    if not place.startswith(("http://", "https://")):
        return Path(place).read_bytes()
    with urlopen(place, timeout=_FETCH_WITHIN_S) as answer:  # noqa: S310  http and https alone
        document: bytes = answer.read(_MAX_JWKS_BYTES)
        return document


def _reason(error: jwt.PyJWTError) -> str:
    # The texts of other errors may repeat parts of the token.
    known = {
        jwt.ExpiredSignatureError: "it has expired",
        jwt.ImmatureSignatureError: "it is not valid yet",
        jwt.InvalidAudienceError: "it is for another audience",
        jwt.InvalidIssuerError: "another issuer made it",
        jwt.InvalidAlgorithmError: "its algorithm is not its key's",
        jwt.MissingRequiredClaimError: "exp, iss, aud or sub is missing",
    }
    return next((text for kind, text in known.items() if isinstance(error, kind)), "its form or its signature is wrong")
