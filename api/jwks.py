"""The issuer's public keys, by JWKS.

1. Fetched off the event loop, kept, and fetched again when they are old or a key is unknown,
   but never more often than once in `PAUSE`: forged key ids cannot make us hammer the issuer.
2. While the issuer is down, the keys that are known go on being good.
3. Only signing keys of the kinds that we accept are taken; a shared secret in the set is not.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import jwt
import orjson
import structlog

from api.errors import ApiError, ErrorCode
from infra.settings import SettingInvalid

GOOD_FOR: Final = 600.0
PAUSE: Final = 30.0
"""Seconds."""

_TIMEOUT: Final = 5.0
_MOST_BYTES: Final = 1_000_000

_ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}

_log = structlog.get_logger("tidings.api")


def fetch(url: str) -> bytes:
    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310  checked by `Jwks`
    with urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310  same
        return bytes(response.read(_MOST_BYTES))


class Jwks:
    """Raises `SettingInvalid` for a URL that is not on the web."""

    def __init__(
        self,
        url: str,
        fetch: Callable[[str], bytes] = fetch,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if urlsplit(url).scheme not in ("https", "http"):
            raise SettingInvalid(f"TIDINGS_JWKS_URL={url!r} is not an http or https URL.")
        self._url = url
        self._fetch = fetch
        self._now = now
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._tried_at: float | None = None
        self._fetched_at = 0.0
        self._lock = asyncio.Lock()

    async def key(self, kid: str | None) -> jwt.PyJWK | None:
        """Raises `ApiError` UNAVAILABLE while no key at all could be fetched."""
        if kid not in self._keys:
            async with self._lock:
                if kid not in self._keys and self._may_try():
                    await self._refresh()
        elif self._now() - self._fetched_at > GOOD_FOR and self._may_try():
            await self._refresh()  # others go on with what is known meanwhile
        if not self._keys:
            raise ApiError(
                ErrorCode.UNAVAILABLE, "Sign-in is not available.", retry_after=int(PAUSE)
            )
        return self._keys.get(kid)

    def _may_try(self) -> bool:
        return self._tried_at is None or self._now() - self._tried_at >= PAUSE

    async def _refresh(self) -> None:
        self._tried_at = self._now()
        try:
            self._keys = parse_keys(await asyncio.to_thread(self._fetch, self._url))
            self._fetched_at = self._now()
        except (OSError, HTTPException, ValueError) as error:
            _log.warning("jwks_unavailable", url=self._url, error=str(error))


def parse_keys(document: bytes) -> dict[str | None, jwt.PyJWK]:
    """By key id; what we cannot use is passed over. Raises `ValueError` when that is all."""
    found = orjson.loads(document)
    listed = found.get("keys") if isinstance(found, dict) else None
    entries = listed if isinstance(listed, list) else []
    keys = {entry.get("kid"): key for entry in entries if (key := _key(entry))}
    if not keys:
        raise ValueError("The key set has no signing key for RS256 or ES256.")
    return keys


def _key(entry: Any) -> jwt.PyJWK | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    algorithm = _ALGORITHMS.get(str(entry.get("kty")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    if algorithm == "ES256" and entry.get("crv") != "P-256":
        return None
    try:
        return jwt.PyJWK(entry, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
