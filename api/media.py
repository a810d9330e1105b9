"""Which media types a request brings and accepts."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

JSON: Final = "application/json"
GRAPHQL_JSON: Final = "application/graphql-response+json"
EVENT_STREAM: Final = "text/event-stream"


@dataclass(frozen=True)
class Accepted:
    json: str | None
    """`JSON` or `GRAPHQL_JSON`, whichever the client likes better; None for neither."""
    stream: bool
    """Whether the client names event streams; wildcards do not ask for one."""


def is_json(content_type: str) -> bool:
    """Exactly JSON, which a web page cannot send to another origin without being allowed to."""
    if content_type == JSON:
        return True
    name, _, parameter = content_type.lower().partition(";")
    return name.strip() == JSON and parameter.strip() in ("", "charset=utf-8", 'charset="utf-8"')


@lru_cache(maxsize=128)
def accepted(header: str) -> Accepted:
    """`JSON` where both are equal to the client: it is what older clients understand."""
    liked = dict(_parse(part) for part in header.split(","))
    anything = liked.get("*/*", 0.0)
    anything = liked.get("application/*", anything)
    plain, graphql = liked.get(JSON, anything), liked.get(GRAPHQL_JSON, anything)
    json: str | None = JSON if plain > 0 else None
    if graphql > 0 and (graphql > plain or (graphql == plain and GRAPHQL_JSON in liked)):
        json = GRAPHQL_JSON
    return Accepted(json, liked.get(EVENT_STREAM, 0.0) > 0)


def _parse(part: str) -> tuple[str, float]:
    name, *parameters = part.lower().split(";")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            return name.strip(), _quality(value)
    return name.strip(), 1.0


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
