"""Who is asking: a bearer token in, a `Principal` out.

1. Tokens are signed: by an OIDC issuer (RS256 or ES256, keys by JWKS), or, on the embedded
   default, by a development key of this installation (HS256). A process takes one kind only.
2. Development keys are for loopback: on any other address the process does not start.
3. A token without subject, expiry, issuer or audience is none; a customer's names the customer.
4. A signature is verified once for as long as its key is in use; the expiry is looked at each time.
5. The client learns that its token is not accepted, and only of an expired one why.
"""

import os
import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Protocol

import jwt

from api.errors import ApiError, ErrorCode
from api.jwks import Jwks
from api.roles import Role as Role  # noqa: PLC0414 part of what this file offers
from infra.settings import SettingInvalid, Settings

DEV_ISSUER: Final = "tidings-dev"
DEV_AUDIENCE: Final = "tidings"

_MOST_CHARACTERS: Final = 8_192
"""Of a token. More is no token, and not worth decoding."""

_MOST_KNOWN: Final = 1_000
"""Tokens whose signature is not verified again; beyond, all are forgotten."""

_SKEW: Final = 5.0
"""Seconds that the issuer's clock may be ahead of ours."""


@dataclass(frozen=True)
class Principal:
    subject: str
    roles: frozenset[Role]
    customer_id: str | None
    expires_at: float
    """Unix seconds."""


class Keys(Protocol):
    async def key(self, kid: str | None) -> Any:
        """What verifies; None when there is no such key."""
        ...


@dataclass(frozen=True)
class DevKey:
    secret: bytes

    async def key(self, kid: str | None) -> Any:  # noqa: ARG002  there is but one
        return self.secret


@dataclass(frozen=True)
class _Known:
    """Who a token was for when `key` had verified it."""

    kid: str | None
    key: Any
    principal: Principal


@dataclass(frozen=True)
class Authenticator:
    keys: Keys
    algorithms: Collection[str]
    issuer: str
    audience: str
    _known: dict[str, _Known] = field(default_factory=dict, init=False, repr=False, compare=False)

    async def principal(self, token: str | None) -> Principal:
        """`token` is without the word Bearer. Raises `ApiError` UNAUTHENTICATED."""
        if not token:
            raise _unauthenticated("A bearer token is needed.")
        try:
            return await self._verified(token)
        except jwt.ExpiredSignatureError:
            raise _unauthenticated("The token has expired.") from None
        except (jwt.PyJWTError, RecursionError):
            raise _unauthenticated("The token is not accepted.") from None

    async def _verified(self, token: str) -> Principal:
        if len(token) > _MOST_CHARACTERS:
            raise jwt.InvalidTokenError
        known = self._known.get(token)
        kid = known.kid if known else jwt.get_unverified_header(token).get("kid")
        key = await self.keys.key(kid)
        if key is None:
            raise jwt.InvalidTokenError
        if known is None or known.key is not key or known.principal.expires_at <= time.time():
            known = _Known(kid, key, _principal(self._claims(token, key)))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[token] = known
        return known.principal

    def _claims(self, token: str, key: Any) -> dict[str, Any]:
        claims = jwt.decode(
            token,
            key,
            algorithms=list(self.algorithms),
            issuer=self.issuer,
            audience=self.audience,
            leeway=_SKEW,
            options={"require": ["sub", "exp", "iss", "aud"], "verify_iat": False},
        )
        if float(claims["exp"]) <= time.time():  # the skew is for `nbf`
            raise jwt.ExpiredSignatureError
        return claims


def _principal(claims: Mapping[str, Any]) -> Principal:
    """Raises `InvalidTokenError`. Roles that are not ours are passed over."""
    known = {role.value: role for role in Role}
    said = claims.get("roles", [])
    customer_id = claims.get("customer_id")
    if not isinstance(said, list) or not isinstance(customer_id, str | None):
        raise jwt.InvalidTokenError
    roles = frozenset(known[name] for name in said if isinstance(name, str) and name in known)
    if Role.CUSTOMER in roles and not customer_id:
        raise jwt.InvalidTokenError
    return Principal(claims["sub"], roles, customer_id, float(claims["exp"]))


def _unauthenticated(message: str) -> ApiError:
    return ApiError(ErrorCode.UNAUTHENTICATED, message)


def open_authenticator(settings: Settings) -> Authenticator:
    """Raises `SettingInvalid` for settings that would be open to strangers, or are incomplete."""
    issuer, audience, url = settings.jwt_issuer, settings.jwt_audience, settings.jwks_url
    if issuer and audience and url:
        return Authenticator(Jwks(url), ("RS256", "ES256"), issuer, audience)
    given = {
        "TIDINGS_JWT_ISSUER": issuer,
        "TIDINGS_JWT_AUDIENCE": audience,
        "TIDINGS_JWKS_URL": url,
    }
    missing = [name for name, value in given.items() if not value]
    if len(missing) < len(given):
        raise SettingInvalid(f"Sign-in is set in part only: {', '.join(missing)} missing.")
    return _dev_authenticator(settings)


def _dev_authenticator(settings: Settings) -> Authenticator:
    if settings.production or not is_loopback(settings.host):
        where = "production" if settings.production else repr(settings.host)
        raise SettingInvalid(
            f"Development keys are for loopback only, not for {where}: "
            "set TIDINGS_JWT_ISSUER, TIDINGS_JWT_AUDIENCE and TIDINGS_JWKS_URL."
        )
    return Authenticator(DevKey(_dev_key(settings.home)), ("HS256",), DEV_ISSUER, DEV_AUDIENCE)


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def dev_token(
    settings: Settings,
    subject: str,
    roles: Iterable[Role],
    customer_id: str | None,
    seconds: float,
) -> str:
    """A token for the embedded default, good for `seconds`."""
    claims = {
        "iss": DEV_ISSUER,
        "aud": DEV_AUDIENCE,
        "sub": subject,
        "exp": int(time.time() + seconds),
        "roles": sorted(role.value for role in roles),
    }
    if customer_id is not None:
        claims["customer_id"] = customer_id
    return jwt.encode(claims, _dev_key(settings.home), algorithm="HS256")


def _dev_key(home: Path) -> bytes:
    """The key of this installation, made by whoever asks first; only its owner can read it."""
    path = home / "dev-key"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        _write_once(path, secrets.token_hex(32).encode())
    if path.stat().st_mode & 0o077:
        raise SettingInvalid(f"{path} can be read by others: delete it, and a new one is made.")
    return path.read_bytes()


def _write_once(path: Path, content: bytes) -> None:
    """All of it or nothing, and never over what another process wrote meanwhile."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
