"""Bodies of requests that are not GraphQL: limited in size and time while they are read."""

import asyncio
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

MOST_BYTES: Final = 64 * 1024
SECONDS: Final = 10.0


async def read_body(request: Request, most: int = MOST_BYTES) -> bytes:
    """Raises `HTTPException` 413 for one that is too long, 408 for one that does not come, 400
    for one that breaks off."""
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise HTTPException(413, f"The body exceeds {most} bytes.")
    except TimeoutError:
        raise HTTPException(408, "The body did not come in time.") from None
    except ClientDisconnect:  # nobody reads the answer, but it is no error of ours
        raise HTTPException(400, "The body broke off.") from None
    return bytes(body)
