"""What a client may say in the graphql-transport-ws protocol, and what it is told, as values.

1. `parse` takes any text and either returns a message or raises `MessageInvalid`; nothing else.
2. Members that the protocol does not name are ignored; named ones must have the right type.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

SUBPROTOCOL = "graphql-transport-ws"

LONGEST_ID = 256
"""An id comes back in every answer: it must not be a way to make all of them large."""


@dataclass(frozen=True, slots=True)
class ConnectionInit:
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ping:
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pong:
    pass


@dataclass(frozen=True, slots=True)
class Subscribe:
    id: str
    query: str
    operation_name: str | None
    variables: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Complete:
    id: str


Message: TypeAlias = ConnectionInit | Ping | Pong | Subscribe | Complete


class MessageInvalid(Exception):
    """The text says why, in words short enough for the reason of a close frame."""


def parse(text: str) -> Message:
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise MessageInvalid("Messages are JSON") from None
    if not isinstance(said, dict):
        raise MessageInvalid("Messages are JSON objects")
    match said.get("type"):
        case "connection_init":
            return ConnectionInit(_object(said, "payload"))
        case "ping":
            return Ping(_object(said, "payload"))
        case "pong":
            _object(said, "payload")
            return Pong()
        case "subscribe":
            return _subscribe(_id(said), _object(said, "payload"))
        case "complete":
            return Complete(_id(said))
        case _:
            raise MessageInvalid("Unknown message type")


def _subscribe(id: str, payload: dict[str, Any]) -> Subscribe:
    query, name = payload.get("query"), payload.get("operationName")
    if not isinstance(query, str):
        raise MessageInvalid("payload.query must be a string")
    if not isinstance(name, str | None):
        raise MessageInvalid("payload.operationName must be a string")
    _object(payload, "extensions")
    return Subscribe(id, query, name or None, _object(payload, "variables"))


def _id(said: dict[str, Any]) -> str:
    value = said.get("id")
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID:
        raise MessageInvalid(f"id must be a string of 1 to {LONGEST_ID} characters")
    return value


def _object(said: dict[str, Any], name: str) -> dict[str, Any]:
    """An optional object; `{}` when it is left out or null."""
    value = said.get(name)
    if not isinstance(value, dict | None):
        raise MessageInvalid(f"{name} must be an object")
    return value or {}


def next_head(id: str) -> bytes:
    """What comes before the payload of an answer; `NEXT_TAIL` comes after it."""
    return orjson.dumps({"id": id, "type": "next"})[:-1] + b',"payload":'


NEXT_TAIL: Final = b"}"


def errors(id: str, told: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": id, "type": "error", "payload": told}


def complete(id: str) -> dict[str, Any]:
    return {"id": id, "type": "complete"}


def pong(payload: dict[str, Any]) -> dict[str, Any]:
    return {"type": "pong", "payload": payload} if payload else {"type": "pong"}


CONNECTION_ACK: dict[str, Any] = {"type": "connection_ack"}
