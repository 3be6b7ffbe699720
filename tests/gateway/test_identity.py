"""Tokens: which are believed, and all the ways in which they are not."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.gateway import keys
from services.gateway.identity import Identity
from services.gateway.keys import DEVELOPMENT_SECRET, InvalidToken, KeysUnavailable, SettingsMisfit, read_jwks, verifier
from services.settings import Settings
from tests.console import opd_here
from tests.gateway.world import Run, World, bearer

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
CLAIMS: dict[str, Any] = {
    "sub": "desk-1",
    "role": "reception",
    "facilities": ["blr1"],
    "iss": "https://id",
    "aud": "opd",
}


def jwks(*described: tuple[str, Any]) -> str:
    documents = []
    for key_id, key in described:
        algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        documents.append({**json.loads(algorithm.to_jwk(key.public_key())), "kid": key_id, "use": "sig"})
    return json.dumps({"keys": documents})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "jwks.json"
    file.write_text(jwks(("r", RSA_KEY), ("e", EC_KEY)))
    return file


@pytest.fixture
def who(file: Path) -> Callable[[str | None], Identity]:
    verify = verifier(Settings(jwt_jwks=str(file), jwt_issuer="https://id"))
    return lambda token: asyncio.run(verify.who(token))


def token(key: Any = RSA_KEY, algorithm: str = "RS256", key_id: str | None = "r", **changed: Any) -> str:
    claims = {**CLAIMS, "exp": time.time() + 60, **changed}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": key_id} if key_id else None)


def test_both_algorithms_prove_who_it_is(who: Callable[[str | None], Identity]) -> None:
    for shown in (token(), token(EC_KEY, "ES256", "e"), token(aud=["x", "opd"]), token(exp=time.time() - 20)):
        found = who(shown)
        assert (found.sub, found.source, found.covers("blr1"), found.covers("blr2")) == (
            "desk-1",
            "gateway/desk-1",
            True,
            False,
        )


def _public(key: Any) -> bytes:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text


def _hmac_of_a_public_key() -> str:
    """Algorithm confusion: the public key, which all know, as the secret of an HMAC; by hand, for PyJWT refuses to."""
    head, body, _ = token().split(".")
    head = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "kid": "r", "typ": "JWT"}).encode()).decode()
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{head}.{body}".encode(), _public(RSA_KEY)
    )
    return f"{head}.{body}.{jwt.utils.base64url_encode(signature).decode()}"


REFUSED: dict[str, Callable[[], str | None]] = {
    "none at all": lambda: None,
    "the algorithm none": lambda: token(None, "none"),
    "an HMAC of the public key": _hmac_of_a_public_key,
    "the secret of development": lambda: token(DEVELOPMENT_SECRET, "HS256", "development"),
    "another RSA key": lambda: token(rsa.generate_private_key(65537, 2048)),
    "an EC signature under the RSA key's id": lambda: token(EC_KEY, "ES256", "r"),
    "RS512 with the right key": lambda: token(algorithm="RS512"),
    "an unknown key": lambda: token(key_id="x"),
    "no key named where there are two": lambda: token(key_id=None),
    "expired": lambda: token(exp=time.time() - 31),
    "not valid yet": lambda: token(nbf=time.time() + 60),
    "no expiry": lambda: token(exp=None),
    "another issuer": lambda: token(iss="https://evil"),
    "no issuer": lambda: token(iss=None),
    "another audience": lambda: token(aud="other"),
    "no audience": lambda: token(aud=None),
    "no subject": lambda: token(sub=None),
    "a subject too long for a source": lambda: token(sub="s" * 121),
    "an unknown role": lambda: token(role="root"),
    "no facilities": lambda: token(facilities=None),
    "a patient without a patient_id": lambda: token(role="patient"),
    "a desk with a patient_id": lambda: token(patient_id="p1"),
    "a doctor without a doctor_id": lambda: token(role="doctor"),
    "cut off": lambda: token()[:-4],
    "no token": lambda: "x" * 40,
    "endless": lambda: "x" * 9000,
    "empty": lambda: "",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_proves_nobody_is_refused_without_being_repeated(who: Callable[[str | None], Identity], case: str) -> None:
    shown = REFUSED[case]()
    with pytest.raises(InvalidToken) as refused:
        who(shown)
    assert "desk-1" not in str(refused.value)
    assert len(str(refused.value)) < 100


def test_new_keys_are_found_and_strangers_ids_do_not_make_us_ask_often(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    asked = 0
    fetch = keys._fetch

    def counting(place: str) -> bytes:
        nonlocal asked
        asked += 1
        return fetch(place)

    monkeypatch.setattr(keys, "_fetch", counting)
    verify = verifier(Settings(jwt_jwks=str(file), jwt_issuer="https://id"))
    other = rsa.generate_private_key(65537, 2048)

    async def run() -> None:
        nonlocal now
        assert await verify.ready()
        file.write_text(jwks(("new", other)))  # noqa: ASYNC240  nothing else runs
        for _ in range(5):
            with pytest.raises(InvalidToken):
                await verify.who(token(other, key_id="new"))
        assert asked == 1
        now += 11
        assert (await verify.who(token(other, key_id="new"))).sub == "desk-1"
        with pytest.raises(InvalidToken):
            await verify.who(token())  # its key was withdrawn
        file.unlink()  # noqa: ASYNC240  nothing else runs
        now += 700
        assert (await verify.who(token(other, key_id="new"))).sub == "desk-1", "better the last keys than none"

    asyncio.run(run())


def test_a_token_is_verified_once_and_believed_no_longer_than_it_may_be(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified, late_s, later_s = 0, 0.0, 0.0
    decode, now, monotonic = jwt.decode, time.time(), time.monotonic  # it stands still: seconds count here

    def counting(*arguments: Any, **more: Any) -> Any:
        nonlocal verified
        verified += 1
        return decode(*arguments, **more)

    monkeypatch.setattr(jwt, "decode", counting)
    monkeypatch.setattr(time, "time", lambda: now + late_s)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + later_s)
    verify = verifier(Settings(jwt_jwks=str(file), jwt_issuer="https://id"))
    shown, lasting = token(exp=now + 60), token(exp=now + 3600)

    async def run() -> None:
        nonlocal verified, late_s, later_s
        assert [(await verify.who(each)).sub for each in (shown, lasting) * 3] == ["desk-1"] * 6
        assert verified == 2
        with pytest.raises(InvalidToken):
            await verify.who(shown[:-4])  # one that differs in the least is another one
        verified = 2  # one signature in sixteen ends in such bits that it is looked at without its end, too
        late_s = 89.0
        await verify.who(shown)
        assert verified == 2
        late_s = 91.0
        await verify.who(shown)  # PyJWT, whose clock is its own, believes it still
        assert verified == 3
        file.write_text(jwks(("e", EC_KEY)))  # noqa: ASYNC240  nothing else runs
        assert (await verify.who(lasting)).sub == "desk-1"
        later_s = 601.0
        with pytest.raises(InvalidToken):
            await verify.who(lasting)  # its key was withdrawn

    asyncio.run(run())


def test_strangers_tokens_do_not_fill_the_memory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_MOST_KNOWN", 3)
    verify = verifier(Settings(jwt_jwks=str(file), jwt_issuer="https://id"))

    async def run() -> None:
        for number in range(10):
            assert (await verify.who(token(sub=f"s{number}"))).sub == f"s{number}"
            assert len(verify._known) <= 3

    asyncio.run(run())


def test_without_keys_nobody_is_known(tmp_path: Path) -> None:
    verify = verifier(Settings(jwt_jwks=str(tmp_path / "none.json"), jwt_issuer="https://id"))

    async def run() -> None:
        assert not await verify.ready()
        with pytest.raises(KeysUnavailable):
            await verify.who(token())

    asyncio.run(run())


def test_keys_that_are_none_for_us_are_passed_over_or_refused() -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"}
    with pytest.raises(ValueError, match="no RSA and no P-256 key"):
        read_jwks(json.dumps({"keys": [secret]}).encode())
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505  it is what is refused
    with pytest.raises(ValueError, match="less than 2048 bits"):
        read_jwks(jwks(("short", short)).encode())
    other_curve = jwks(("c", ec.generate_private_key(ec.SECP384R1())), ("r", RSA_KEY))
    assert read_jwks(other_curve.encode()).keys() == {"r"}


def test_settings_that_do_not_fit_together() -> None:
    with pytest.raises(SettingsMisfit, match="OPD_JWT_ISSUER"):
        verifier(Settings(jwt_jwks="keys.json"))


def test_without_keys_it_refuses_to_be_reached_from_elsewhere() -> None:
    refused = opd_here("gateway", "--http-host=0.0.0.0")
    assert refused.returncode == 2
    assert refused.stderr.startswith("opd: without keys everybody is an administrator: 0.0.0.0 is refused\n")


def test_a_token_for_development_is_taken_in_development(in_world: Run) -> None:
    minted = opd_here("token-for", "--role=patient", "--patient=p1", "--facility=blr1", "--department=cardiology")
    assert minted.returncode == 0, minted.stderr
    wrong = opd_here("token-for", "--role=doctor")
    assert wrong.returncode == 2
    assert "a doctor has a doctor_id" in wrong.stderr

    async def run(world: World) -> None:
        await world.register()
        who = {"Authorization": f"Bearer {minted.stdout.strip()}"}
        assert (await world.book("p1", headers=who)).status_code == 201
        refused = await world.book("p2", headers=who)
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden")
        for shown in ({"Authorization": "Bearer x"}, {"Authorization": "Basic eDp4"}, bearer(role="admin", aud="x")):
            answer = await world.book("p3", headers=shown)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await world.book("p3", headers={"Host": "evil.example"})).status_code == 401, "a name that leads here"

    in_world(run)
