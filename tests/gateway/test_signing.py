"""A key of one's own: what `opd make-keys` writes, and the tokens that `opd token-for` signs with it."""

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from services.gateway.keys import InvalidToken, verifier
from services.gateway.signing import WrongKey, make_keys, sign
from services.settings import Settings
from tests.console import opd_here

ISSUER = "https://id"


def files(folder: Path) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    return folder / "key.pem", folder / "jwks.json"


def token(signing_key: Path, *, issuer: str) -> str:
    words = ("--role=reception", "--facility=blr1", f"--signing-key={signing_key}")
    minted = opd_here("token-for", *words, OPD_JWT_ISSUER=issuer, OPD_JWT_AUDIENCE="desks")
    assert minted.returncode == 0, minted.stderr
    return minted.stdout.strip()


def test_a_gateway_takes_what_is_signed_with_the_key_that_it_trusts(tmp_path: Path) -> None:
    signing_key, jwks = files(tmp_path)
    made = opd_here("make-keys", f"--signing-key={signing_key}", f"--jwks={jwks}")
    assert (made.returncode, made.stderr) == (0, "")
    verify = verifier(Settings(jwt_jwks=str(jwks), jwt_issuer=ISSUER, jwt_audience="desks"))
    who = asyncio.run(verify.who(token(signing_key, issuer=ISSUER)))
    assert (who.role, who.facilities, who.departments) == ("reception", ["blr1"], None)
    strange = token(signing_key, issuer="https://other")
    another, _ = files(tmp_path / "other")
    make_keys(another, tmp_path / "other.json")
    for wrong in (strange, token(another, issuer=ISSUER)):
        with pytest.raises(InvalidToken):
            asyncio.run(verify.who(wrong))


def test_the_key_is_its_owners_alone_and_stays(tmp_path: Path) -> None:
    signing_key, jwks = files(tmp_path)
    assert make_keys(signing_key, jwks)
    assert signing_key.stat().st_mode & 0o777 == 0o600
    assert jwks.stat().st_mode & 0o777 == 0o644
    assert "PRIVATE" not in jwks.read_text()
    assert '"d"' not in jwks.read_text()
    before = signing_key.read_bytes(), jwks.read_bytes()
    jwks.unlink()
    assert not make_keys(signing_key, jwks)
    assert (signing_key.read_bytes(), jwks.read_bytes()) == before
    assert sorted(tmp_path.iterdir()) == [jwks, signing_key]


def test_what_is_no_such_key_is_said_so(tmp_path: Path) -> None:
    signing_key, jwks = files(tmp_path)
    pem = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (None, b"", b"no key", pem):
        if content is not None:
            signing_key.write_bytes(content)
            with pytest.raises(WrongKey, match=r"key.pem .*\ntry: opd make-keys"):
                make_keys(signing_key, jwks)
        with pytest.raises(WrongKey, match=r"key.pem .*\ntry: opd make-keys"):
            sign({"sub": "x"}, signing_key, hours=1)
    assert not jwks.exists()
    unnamed = opd_here("token-for", "--role=admin", f"--signing-key={signing_key}")
    assert unnamed.returncode == 2
    assert "OPD_JWT_ISSUER is not set" in unnamed.stderr
