"""The two ways of a command: to the command handler, or to a server's GraphQL over HTTP.

1. Either way the command is the same to the log: same id, same actor, same input.
2. `Away` means that nobody answered. Whether the command took place is open, and sending it again
   is safe. What is wrong with the sender itself raises `SettingInvalid`.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from strawberry.utils.str_converters import to_camel_case

from api.commands import Input, request_of
from api.errors import ErrorCode
from infra.answers import Accepted
from infra.commands import CommandHandler
from infra.mongo import Unavailable
from infra.settings import SettingInvalid

ACTOR: Final = "loader"
"""Who sends, both ways: the subject of the token, too."""

SECONDS_TO_ANSWER: Final = 30.0

_TRY_AGAIN: Final = {
    ErrorCode.RATE_LIMITED.value,
    ErrorCode.TIMEOUT.value,
    ErrorCode.OVERLOADED.value,
    ErrorCode.UNAVAILABLE.value,
}
_GATEWAY_STATUSES: Final = (502, 503, 504)


class Away(Exception):
    """Nobody answered. Send again, but not before so many seconds."""

    def __init__(self, why: object, seconds: float = 0) -> None:
        super().__init__(str(why))
        self.seconds = seconds


@dataclass(frozen=True)
class Outcome:
    """What a command came to: `replayed` when it had been sent before."""

    replayed: bool
    refusal: str | None = None


class Sender(Protocol):
    @property
    def in_flight(self) -> int:
        """How many commands to send at once."""
        ...

    async def send(self, input: Input) -> Outcome:
        """Raises `Away`."""
        ...


# -- to the handler


@dataclass(frozen=True)
class ToHandler:
    handler: CommandHandler
    in_flight: int = 512

    async def send(self, input: Input) -> Outcome:
        assert input.at is not None, "what is loaded says when it happened"
        request = request_of(input, input.command(input.at), ACTOR)
        try:
            answer = await self.handler.handle(request)
        except Unavailable as unavailable:
            raise Away(unavailable) from unavailable
        if isinstance(answer, Accepted):
            return Outcome(answer.replayed)
        return Outcome(answer.replayed, "; ".join(map(str, answer.errors)))


# -- over HTTP


class OverHttp:
    """Keeps as many connections alive as commands are in flight, in threads; `close` it."""

    in_flight = 64

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingInvalid(f"--via {url}: give a URL such as http://127.0.0.1:8000/graphql.")
        self.url = url
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path if parts.path.strip("/") else "/graphql"
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        self._threads = ThreadPoolExecutor(self.in_flight, "load")
        self._idle: list[HTTPConnection] = []

    async def send(self, input: Input) -> Outcome:
        body = {"query": document(type(input)), "variables": {"input": variables(input)}}
        status, retry_after, answer = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._post, orjson.dumps(body)
        )
        return self._outcome(status, retry_after, answer)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        for connection in self._idle:
            connection.close()

    def _post(self, body: bytes) -> tuple[int, float, bytes]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._kind(self._host, self._port, timeout=SECONDS_TO_ANSWER)
        try:
            connection.request("POST", self._path, body, self._headers)
            response = connection.getresponse()
            return response.status, _retry_after(response), response.read()
        except (OSError, HTTPException) as error:
            connection.close()  # the next request opens it again
            raise Away(f"{self.url} does not answer: {error}") from error
        finally:
            self._idle.append(connection)

    def _outcome(self, status: int, retry_after: float, body: bytes) -> Outcome:
        try:
            answer = orjson.loads(body)
            errors = answer.get("errors", [])
        except (orjson.JSONDecodeError, AttributeError):
            if status in _GATEWAY_STATUSES:
                raise Away(f"{self.url} answers {status}", retry_after) from None
            raise SettingInvalid(f"{self.url} is no GraphQL: it answers {status}.") from None
        for error in errors:
            if error.get("extensions", {}).get("code") in _TRY_AGAIN:
                raise Away(error["message"], retry_after)
            raise SettingInvalid(f"{self.url} refuses: {error['message']}")
        (payload,) = answer["data"].values()
        refusal = "; ".join(error["message"] for error in payload["errors"]) or None
        return Outcome(bool(payload["receipt"] and payload["receipt"]["replayed"]), refusal)


def _retry_after(response: HTTPResponse) -> float:
    said = response.getheader("Retry-After", "0")
    return float(said) if said.isdigit() else 0


@cache
def document(kind: type) -> str:
    """The mutation that takes this input: `PlaceOrderInput` belongs to `placeOrder`."""
    name = kind.__name__.removesuffix("Input")
    field = name[0].lower() + name[1:]
    return (
        f"mutation {name}($input: {name}Input!) "
        f"{{ {field}(input: $input) {{ errors {{ message }} receipt {{ replayed }} }} }}"
    )


def variables(value: Any) -> Any:
    """An input as JSON values: what is None is left out."""
    if is_dataclass(value):
        given = {field.name: getattr(value, field.name) for field in fields(value)}
        return {to_camel_case(k): variables(v) for k, v in given.items() if v is not None}
    if isinstance(value, list):
        return [variables(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | UUID) else value
