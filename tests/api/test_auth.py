"""Tokens: what is accepted, what is forged, and where the keys come from."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from api.auth import Authenticator, Principal, Role, dev_token, is_loopback, open_authenticator
from api.errors import ApiError, ErrorCode
from api.jwks import Jwks, parse_keys
from infra.settings import SettingInvalid, Settings

ISSUER = "https://issuer.example"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def jwks() -> bytes:
    keys = [
        {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "rsa", "use": "sig"},
        {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "ec"},
        {"kty": "oct", "kid": "oct", "k": base64.urlsafe_b64encode(b"k" * 32).decode()},
        {"kty": "RSA", "kid": "bad", "n": "!", "e": "AQAB"},
        {"kty": ["RSA"]},
        7,
    ]
    return json.dumps({"keys": keys}).encode()


def claims(**changed: Any) -> dict[str, Any]:
    whole = {
        "iss": ISSUER,
        "aud": "tidings",
        "sub": "ann",
        "exp": int(time.time()) + 60,
        "roles": ["staff", "astronaut"],
        **changed,
    }
    return {name: value for name, value in whole.items() if value is not None}


def oidc() -> Authenticator:
    keys = Jwks("https://issuer.example/keys", lambda _: jwks())
    return Authenticator(keys, ("RS256", "ES256"), ISSUER, "tidings")


def signed(key: Any = RSA, algorithm: str = "RS256", kid: str = "rsa", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers={"kid": kid})


def unsigned(header: object, payload: object, signature: str = "") -> str:
    parts = (json.dumps(part).encode() for part in (header, payload))
    return ".".join([*(base64.urlsafe_b64encode(p).decode().rstrip("=") for p in parts), signature])


def hs256_with_the_public_key() -> str:
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head, body, _ = unsigned({"alg": "HS256", "typ": "JWT", "kid": "rsa"}, claims()).split(".")
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = algorithm.sign(f"{head}.{body}".encode(), pem)
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


async def test_who_a_token_names() -> None:
    exp = int(time.time()) + 60
    expected = Principal("ann", frozenset({Role.STAFF}), None, exp)
    assert await oidc().principal(signed(exp=exp)) == expected
    assert await oidc().principal(signed(EC, "ES256", "ec", exp=exp)) == expected
    customer = signed(roles=["customer"], customer_id="customer-1")
    assert (await oidc().principal(customer)).customer_id == "customer-1"
    assert (await oidc().principal(signed(roles=None))).roles == frozenset()


DEEP = base64.urlsafe_b64encode(b"[" * 5_000).decode().rstrip("=")

FORGED = {
    "nothing": None,
    "empty": "",
    "text": "hello",
    "dots": "..",
    "not ASCII": "é.ü.ß",
    "huge": "a" * 100_000,
    "deep": f"{DEEP}.{DEEP}.x",
    "alg none": unsigned({"alg": "none", "kid": "rsa"}, claims()),
    "alg None": unsigned({"alg": "None", "kid": "rsa"}, claims(), "x"),
    "no alg": unsigned({"kid": "rsa"}, claims()),
    "kid a list": unsigned({"alg": "RS256", "kid": ["rsa"]}, claims()),
    "header a list": unsigned(["RS256"], claims()),
    "other key": signed(OTHER_RSA),
    "unknown kid": signed(kid="other"),
    "kid of another key": signed(kid="ec"),
    "RSA key, other algorithm": signed(RSA, "RS512"),
    "HS256 with the public key": hs256_with_the_public_key(),
    "HS256 with the shared key": signed("k" * 32, "HS256", "oct"),
    "expired": signed(exp=int(time.time()) - 1),
    "expires never": signed(exp=None),
    "expiry no number": signed(exp="soon"),
    "not yet": signed(nbf=int(time.time()) + 60),
    "other issuer": signed(iss="https://evil.example"),
    "no issuer": signed(iss=None),
    "other audience": signed(aud="others"),
    "no audience": signed(aud=None),
    "no subject": signed(sub=None),
    "roles a string": signed(roles="staff"),
    "customer without id": signed(roles=["customer"]),
    "customer id a list": signed(customer_id=["customer-1"]),
    "cut": signed()[:-10],
    "changed": signed().replace(".", ".e", 1),
}


@pytest.mark.parametrize("name", FORGED)
async def test_forged_tokens(name: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ApiError) as caught:
        await oidc().principal(FORGED[name])
    assert time.perf_counter() - start < 0.1
    assert caught.value.code is ErrorCode.UNAUTHENTICATED
    assert caught.value.status == 401


async def test_development_tokens(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    authenticator = open_authenticator(settings)
    token = dev_token(settings, "carl", [Role.CUSTOMER], "customer-1", 60)
    principal = await authenticator.principal(token)
    assert principal.roles == {Role.CUSTOMER}
    assert principal.customer_id == "customer-1"
    assert (tmp_path / "home/dev-key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["dev-key"]
    expired = dev_token(settings, "carl", [Role.STAFF], None, -1)
    elsewhere = dev_token(Settings(home=tmp_path / "other"), "carl", [Role.STAFF], None, 60)
    for bad in (expired, elsewhere):
        with pytest.raises(ApiError):
            await authenticator.principal(bad)


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    dev_token(settings, "ann", [Role.STAFF], None, 60)
    (tmp_path / "dev-key").chmod(0o644)
    with pytest.raises(SettingInvalid, match="read by others"):
        open_authenticator(settings)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
    ],
)
def test_loopback(host: str, expected: bool, tmp_path: Path) -> None:  # noqa: FBT001  a table
    assert is_loopback(host) is expected
    if not expected:
        with pytest.raises(SettingInvalid, match="loopback only"):
            open_authenticator(Settings(home=tmp_path, host=host))


def test_sign_in_is_set_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    whole = Settings(
        home=tmp_path,
        host="0.0.0.0",
        jwt_issuer=ISSUER,
        jwt_audience="tidings",
        jwks_url="https://issuer.example/keys",
    )
    open_authenticator(whole)
    with pytest.raises(SettingInvalid, match="TIDINGS_JWT_AUDIENCE, TIDINGS_JWKS_URL missing"):
        open_authenticator(replace(whole, jwt_audience=None, jwks_url=None))
    with pytest.raises(SettingInvalid, match="not an http or https URL"):
        open_authenticator(replace(whole, jwks_url="file:///etc/passwd"))
    assert not (tmp_path / "dev-key").exists()


class Fetched:
    """A key server that counts, and can be down."""

    def __init__(self) -> None:
        self.calls = 0
        self.down = False

    def __call__(self, url: str) -> bytes:
        assert url == "https://issuer.example/keys"
        self.calls += 1
        if self.down:
            raise OSError("down")
        return jwks()


async def test_keys_are_kept_and_unknown_ones_looked_up_seldom() -> None:
    clock, server = [1_000.0], Fetched()
    keys = Jwks("https://issuer.example/keys", server, lambda: clock[0])
    assert await keys.key("rsa")
    for n in range(100):
        assert await keys.key(f"forged-{n}") is None
    assert server.calls == 1
    clock[0] += 31
    assert await keys.key("forged") is None
    assert await keys.key("forged") is None
    assert server.calls == 2


async def test_known_keys_stay_good_while_the_issuer_is_down() -> None:
    clock, server = [1_000.0], Fetched()
    keys = Jwks("https://issuer.example/keys", server, lambda: clock[0])
    await keys.key("rsa")
    server.down = True
    clock[0] += 601
    assert await keys.key("rsa")
    assert await keys.key("rsa")
    assert server.calls == 2
    server.down = False
    clock[0] += 31
    assert await keys.key("rsa")
    assert server.calls == 3


async def test_without_any_key_sign_in_is_not_available() -> None:
    server = Fetched()
    server.down = True
    keys = Jwks("https://issuer.example/keys", server)
    for _ in range(3):
        with pytest.raises(ApiError) as caught:
            await keys.key("rsa")
        assert caught.value.code is ErrorCode.UNAVAILABLE
    assert server.calls == 1


def test_only_usable_keys_are_taken() -> None:
    assert set(parse_keys(jwks())) == {"rsa", "ec"}
    for document in (b"[]", b'{"keys": []}', b'{"keys": 1}', b"<html>"):
        with pytest.raises(ValueError):
            parse_keys(document)


@pytest.fixture
def key_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(jwks())

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/keys"
        server.shutdown()
        thread.join()


async def test_keys_come_over_http(key_server: str) -> None:
    settings = Settings(jwt_issuer=ISSUER, jwt_audience="tidings", jwks_url=key_server)
    assert (await open_authenticator(settings).principal(signed())).subject == "ann"
