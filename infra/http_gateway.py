"""HTTP to the outside world: one request until there is a definite answer, or `TryLater`.

1. Each request carries an idempotency key, so sending it again is safe.
2. A success is an answer. A refusal (4xx) is definite: `HttpRefused`, for an operator to look at.
3. Silence, a broken answer, 408, 409, 425, 5xx: nobody knows what happened. It is sent again a few
   times at once, with jitter, and then `TryLater` leaves it to whoever keeps it. 429 asks for that.
4. After several failures in a row the circuit is open: nothing is sent until it may have recovered.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx
import msgspec
import stamina
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from infra.gateways import TryLater

CONNECTIONS: Final = 64
"""Used at once. The pool of httpx looks at all of them, and at all that wait, for each request: so
more are slower, not faster, and nobody waits inside."""

_UNKNOWN: Final = frozenset({408, 409, 425})
"""Of the 4xx, those that say nothing about whether it was, or will be, done."""

_MOST_TOLD: Final = 300
"""Characters of a refusal that are passed on."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait, and how often to ask. `failures` in a row open the circuit."""

    seconds: float = 5.0
    connect_seconds: float = 2.0
    attempts: int = 3
    first_wait: float = 0.05
    failures: int = 5
    open_seconds: float = 1.0


@dataclass(frozen=True)
class HttpRequest:
    """A POST of a JSON body."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpRefused(Exception):
    """The other side will not do it; asked again it would say the same."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(f"{status}: {text[:_MOST_TOLD]}")


class _NoAnswer(Exception):
    """It may have been done, or not."""


class HttpGateway:
    def __init__(self, name: str, client: httpx.AsyncClient, patience: Patience) -> None:
        self._name = name
        self._client = client
        self._patience = patience
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._breakers = AsyncCircuitBreakerFactory(
            default_threshold=patience.failures,
            default_ttl=patience.open_seconds,
            exclude=[HttpRefused, asyncio.CancelledError],
        )

    async def send(self, request: HttpRequest, key: str) -> bytes:
        """The body of the answer, which is JSON; raises `TryLater` or `HttpRefused`."""
        try:
            async for attempt in stamina.retry_context(  # unlike a call, it logs no arguments
                on=_NoAnswer,
                attempts=self._patience.attempts,
                timeout=None,
                wait_initial=self._patience.first_wait,
                wait_jitter=self._patience.first_wait,
            ):
                with attempt:
                    return await self._attempt(request, key)
        except _NoAnswer as error:
            raise TryLater(f"{self._name}: {error}") from error
        except OpenedState:
            raise TryLater(f"{self._name}: too many failures, the circuit is open") from None
        raise AssertionError("an attempt returns or raises")

    async def _attempt(self, request: HttpRequest, key: str) -> bytes:
        async with self._slots, await self._breakers.get_breaker(self._name):
            try:
                response = await self._client.post(
                    request.path,
                    content=request.body,
                    headers={**request.headers, "Idempotency-Key": key},
                )
            except httpx.RequestError as error:
                raise _NoAnswer(f"{type(error).__name__} {error}".strip()) from error
            return _definite(response)


def _definite(response: httpx.Response) -> bytes:
    """The body of a success; raises `HttpRefused`, `_NoAnswer` or `TryLater`."""
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise TryLater("we are asked to slow down")
    if status in _UNKNOWN or status >= 500:
        raise _NoAnswer(f"status {status}")
    if not response.is_success:
        raise HttpRefused(status, response.text)
    try:
        msgspec.json.decode(response.content, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _NoAnswer(f"the answer is not JSON: {error}") from error
    return response.content


@asynccontextmanager
async def open_http_gateway(
    name: str, url: str, token: str, patience: Patience | None = None
) -> AsyncIterator[HttpGateway]:
    """Connections that are kept open, to one server, with a bearer token."""
    patience = patience or Patience()
    async with httpx.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        timeout=httpx.Timeout(patience.seconds, connect=patience.connect_seconds, pool=None),
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        trust_env=False,
    ) as client:
        yield HttpGateway(name, client, patience)
