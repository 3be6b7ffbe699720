"""A key of one's own to sign tokens with, for a system that no identity provider stands before."""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from jwt.utils import base64url_encode

from services.errors import OpdError

_ALGORITHM = "ES256"


class WrongKey(OpdError):  # noqa: N818  it is what it is
    """{file} holds no key that a gateway's tokens are signed with."""

    exit_code = 2


def make_keys(signing_key: Path, jwks: Path) -> bool:
    """Write a P-256 key for its owner alone, and the JWKS that verifies what it signs.

    A key that is there stays, and its JWKS is written where it is missing: tokens that were signed remain good.

    Returns:
        Whether a key was made.

    Raises:
        WrongKey: the file that is there is no such key.
        OSError: one of them cannot be written.
    """
    made = not signing_key.exists()
    if made:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(signing_key, pem, 0o600)
    described = _public(_read(signing_key))
    _write(jwks, json.dumps({"keys": [described]}).encode(), 0o644)
    return made


def sign(claims: dict[str, Any], signing_key: Path, *, hours: float) -> str:
    """Give a token with these claims, good for so long from now on.

    Raises:
        WrongKey: the file is no key, or cannot be read.
    """
    key = _read(signing_key)
    now = int(time.time())
    said = {**claims, "iat": now, "exp": now + int(hours * 3600)}
    return jwt.encode(said, key, algorithm=_ALGORITHM, headers={"kid": _public(key)["kid"]})


def _read(signing_key: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(signing_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise WrongKey(
            f"{signing_key} cannot be read: {type(error).__name__}\ntry: opd make-keys writes one"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise WrongKey(f"{signing_key} is no P-256 key\ntry: opd make-keys writes one")
    return key


def _public(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    described = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    # RFC 7638: its id follows from it, so no gateway ever knows two keys by one name.
    members = {name: described[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return {**members, "kid": base64url_encode(digest).decode(), "use": "sig", "alg": _ALGORITHM}


def _write(file: Path, content: bytes, mode: int) -> None:
    """Nobody ever reads half of it, or reads it before its mode is right."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        out.write(content)
    unfinished.replace(file)
