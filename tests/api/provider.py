"""The payment provider sandbox for tests: beside them, or as a program that can be killed."""

import asyncio
import re
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.sandbox import SandboxSettings
from api.sandbox_serving import sandbox_beside
from api.signatures import SIGNATURE_HEADER
from tests.api.live import served
from tests.e2e.server import environment

KEY: Final = "key-of-the-sandbox-in-tests"
SECRET: Final = "secret-of-the-callbacks-in-tests"
HOLD_MS: Final = 600.0

SETTINGS: Final = SandboxSettings(key=KEY, callback_secret=SECRET, slow_ms=200, hold_ms=HOLD_MS)


@dataclass(frozen=True)
class Provider:
    """What a merchant sees of a sandbox."""

    url: str
    http: httpx.AsyncClient

    async def post(
        self, path: str, key: str, callback_url: str | None = None, **body: Any
    ) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        if callback_url:
            headers["Callback-Url"] = callback_url
        return await self.http.post(path, json=body, headers=headers)

    async def authorise(
        self, key: str, card: str = "ok", payment: str = "payment-1", **more: Any
    ) -> httpx.Response:
        body = {"merchant_reference": payment, "amount": 1_000, "currency": "EUR", "card": card}
        return await self.post("/payments", key, **{**body, **more})

    async def move(self, reference: str, what: str, key: str, amount: int) -> httpx.Response:
        path = f"/payments/{reference}/{what}"
        return await self.post(path, key, merchant_reference=key, amount=amount)

    async def void(self, reference: str, key: str) -> httpx.Response:
        return await self.post(f"/payments/{reference}/voids", key, merchant_reference=key)

    async def book(self) -> Any:
        return (await self.http.get("/book")).json()


@asynccontextmanager
async def merchant(url: str, key: str = KEY, seconds: float = 10.0) -> AsyncIterator[Provider]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=seconds, trust_env=False
    ) as http:
        yield Provider(url, http)


@asynccontextmanager
async def sandbox(book: Path, settings: SandboxSettings = SETTINGS) -> AsyncIterator[Provider]:
    """A sandbox on the loop of the test."""
    async with sandbox_beside(settings, book) as url, merchant(url) as provider:
        yield provider


@dataclass(frozen=True)
class Program:
    """`tidings sandbox`."""

    url: str
    process: asyncio.subprocess.Process

    async def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def sandbox_program(
    book: Path, *options: str, port: int = 0, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    secrets = {
        "TIDINGS_PAYMENT_PROVIDER_KEY": KEY,
        "TIDINGS_PAYMENT_CALLBACK_SECRET": SECRET,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api", "sandbox", "--book", str(book), "--port", str(port)),
        *options,
        env=environment(book.parent, settings or secrets),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(30):
            said = (await process.stdout.readline()).decode()
        found = re.search(r"http://\S+", said)
        yield Program(found[0] if found else said, process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Told:
    """A callback as it came."""

    body: bytes
    signature: str


@dataclass
class Receiver:
    """Takes callbacks, or refuses them while it is `deaf`."""

    url: str = ""
    deaf: bool = False
    told: list[Told] = field(default_factory=list)
    refused: int = 0

    async def receive(self, request: Request) -> Response:
        if self.deaf:
            self.refused += 1
            return Response(status_code=503)
        self.told.append(Told(await request.body(), request.headers[SIGNATURE_HEADER]))
        return Response()


@asynccontextmanager
async def receiver(*, deaf: bool = False) -> AsyncIterator[Receiver]:
    opened = Receiver(deaf=deaf)
    routes = [Route("/told", opened.receive, methods=["POST"])]
    async with served(Starlette(routes=routes)) as port:
        opened.url = f"http://127.0.0.1:{port}/told"
        yield opened
