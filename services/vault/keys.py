"""Keys: the master key in a file, and what is encrypted under it or under the keys that it wraps."""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.errors import OpdError

_KEY_BYTES = 32
_NONCE_BYTES = 12


class BadKeyFile(OpdError):  # noqa: N818  it is what it is
    """There is no master key to be had from the file."""

    exit_code = 2


class Unreadable(OpdError):  # noqa: N818  it is what it is
    """Something in the vault was not encrypted under the keys at hand, or was altered."""


class Wrapped(NamedTuple):
    """A key as it stands in the vault.

    Attributes:
        master_id: which master key it is wrapped by.
        wrapped: encrypted.
    """

    master_id: str
    wrapped: bytes


class MasterKeys:
    """The key that wraps all others, and former ones that can still unwrap."""

    def __init__(self, keys: list[bytes]) -> None:
        """Give 32 bytes each, the newest first."""
        self._keys = {hashlib.sha256(b"opd master key" + key).hexdigest()[:16]: key for key in keys}
        self.newest_id = next(iter(self._keys))

    def wrap(self, key: bytes, owner: str) -> Wrapped:
        """Encrypt a key; `owner` says whose it is, and must be said again to unwrap it."""
        return Wrapped(self.newest_id, seal(self._keys[self.newest_id], key, owner))

    def unwrap(self, found: Wrapped, owner: str) -> bytes:
        """Give the key.

        Raises:
            Unreadable: it is wrapped by a master key that is not in the file, or is not the owner's.
        """
        if found.master_id not in self._keys:
            raise Unreadable(
                f"a key of the vault is wrapped by the master key {found.master_id}, which is not in the key file\n"
                "try: the OPD_VAULT_KEY_FILE with which the vault was written"
            )
        return unseal(self._keys[found.master_id], found.wrapped, owner)


def read_master_keys(file: Path, *, make: bool = False) -> tuple[MasterKeys, bool]:
    """Read the key file: a line for each key, 32 bytes in base64, the newest first.

    Args:
        file: where it is.
        make: make one where there is none, for its owner's eyes alone.

    Returns:
        The keys, and whether they were made.

    Raises:
        BadKeyFile: there is none, or it is no such file.
    """
    made = make and _make(file)
    try:
        lines = [line for line in file.read_text(encoding="ascii").splitlines() if line.strip()]
        keys = [base64.b64decode(line, validate=True) for line in lines]
    except (OSError, UnicodeDecodeError, binascii.Error) as error:
        raise BadKeyFile(f"the vault's key file {file} cannot be read: {type(error).__name__}\n{_HOW}") from None
    if not keys or any(len(key) != _KEY_BYTES for key in keys):
        raise BadKeyFile(f"the vault's key file {file} holds no keys of {_KEY_BYTES} bytes\n{_HOW}")
    return MasterKeys(keys), made


_HOW = "try: head -c 32 /dev/urandom | base64 > FILE, readable for opd alone, and OPD_VAULT_KEY_FILE=FILE"


def _make(file: Path) -> bool:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
        written.write(base64.b64encode(new_key()) + b"\n")
    try:
        os.link(unfinished, file)  # whole or not at all, and never over another one
    except FileExistsError:
        return False
    finally:
        unfinished.unlink()
    return True


def new_key() -> bytes:
    """Give a key that nobody ever had."""
    return secrets.token_bytes(_KEY_BYTES)


def seal(key: bytes, text: bytes, owner: str) -> bytes:
    """Encrypt with AES-256-GCM; `owner` says whose it is, so that it cannot be put in another one's place."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, text, owner.encode())


def unseal(key: bytes, sealed: bytes, owner: str) -> bytes:
    """Give what was sealed.

    Raises:
        Unreadable: it is another key, another owner, or altered.
    """
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], owner.encode())
    except (InvalidTag, ValueError):
        raise Unreadable("something in the vault was altered, or is another one's\ntry: its backup") from None


def patient_id_of(key: bytes, facility_id: str, number: str) -> str:
    """Give the opaque patient_id of a hospital's patient number: 45 characters that stand in any address.

    Spaces and the case of letters do not count: `mrn 17` is `MRN17`.
    """
    said = f"{facility_id}/{''.join(number.split()).upper()}"
    digest = hmac.digest(key, said.encode(), "sha256")
    return f"p-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
