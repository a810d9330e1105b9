"""Bodies are read to their end, or refused: nothing that a sender does is an error of ours."""

from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from api.bodies import read_body

PART: dict[str, Any] = {"type": "http.request", "body": b"12345", "more_body": True}
LAST: dict[str, Any] = {"type": "http.request", "body": b"6", "more_body": False}
GONE: dict[str, Any] = {"type": "http.disconnect"}


def request(*messages: dict[str, Any]) -> Request:
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def test_a_body_comes_in_parts() -> None:
    assert await read_body(request(PART, PART, LAST), most=11) == b"12345123456"


@pytest.mark.parametrize(("messages", "status"), [((PART, PART, LAST), 413), ((PART, GONE), 400)])
async def test_a_body_that_is_too_long_or_breaks_off_is_refused(
    messages: tuple[dict[str, Any], ...], status: int
) -> None:
    with pytest.raises(HTTPException) as refused:
        await read_body(request(*messages), most=10)
    assert refused.value.status_code == status
