"""The links by which a patient follows a token: nobody finds one who was not given it."""

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from io import BytesIO

import segno

_CODE_BYTES = 16


def code_of(token_id: str, key: bytes) -> str:
    """Give what proves that somebody was given this token's link: the beginning of an HMAC-SHA256, in base64url."""
    digest = hmac.digest(key, token_id.encode(), sha256)
    return urlsafe_b64encode(digest[:_CODE_BYTES]).decode().rstrip("=")


def is_code_of(token_id: str, code: str, key: bytes) -> bool:
    """Say whether this is the code of this token."""
    return hmac.compare_digest(code.encode(), code_of(token_id, key).encode())


def path_of(token_id: str, key: bytes) -> str:
    """Give the address of a token's page, within the board."""
    return f"/follow/{token_id}/{code_of(token_id, key)}"


def as_qr(url: str) -> bytes:
    """Give an address as a QR code, an SVG image."""
    image = BytesIO()
    segno.make(url, error="m", micro=False).save(image, kind="svg", scale=8, border=4, light="white", nl=False)
    return image.getvalue()
