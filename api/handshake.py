"""Who opens a websocket: from which page, and with which token."""

from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from starlette.websockets import WebSocket


def is_origin_allowed(websocket: WebSocket, allowed: Collection[str]) -> bool:
    """Browsers always name the page's origin; without one it is a program, which needs a token."""
    origin = websocket.headers.get("origin")
    if origin is None or origin in allowed:
        return True
    try:
        host = urlsplit(origin).netloc
    except ValueError:
        return False
    return host != "" and host.lower() == websocket.headers.get("host", "").lower()


def bearer_token(payload: dict[str, Any], websocket: WebSocket) -> str | None:
    """From the init message, where browsers can put it, or else from the upgrade request."""
    said = [value for name, value in payload.items() if name.lower() == "authorization"]
    value = str(said[0]) if said else websocket.headers.get("authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(" ")
    # Something else than a bearer token is not the same as none: an empty one is always refused.
    return token.strip() if scheme.lower() == "bearer" else ""
