"""The payment provider sandbox as a program, and beside the API in one process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn

from api.sandbox import SandboxSettings, create_sandbox
from api.sandbox_behaviour import Rates
from api.sandbox_book import Book, open_book
from api.web_server import DroppableProtocol, WebServer, listening, url_of
from infra.settings import SettingInvalid, check_secret

__all__ = ["Rates", "SandboxSettings", "sandbox_beside", "serve_sandbox"]


def serve_sandbox(settings: SandboxSettings, book: Path, host: str, port: int) -> None:
    """Serve until a signal; raises `SettingInvalid`, or `BookUnusable`."""
    check_secret("TIDINGS_PAYMENT_PROVIDER_KEY", settings.key)
    check_secret("TIDINGS_PAYMENT_CALLBACK_SECRET", settings.callback_secret)
    try:
        listener = listening(host, port)
    except OSError as error:
        raise SettingInvalid(f"Cannot listen on {host}:{port} ({error.strerror}).") from error
    with listener, open_book(book) as opened, contextlib.suppress(KeyboardInterrupt):
        print(f"The payment sandbox is serving at {url_of(listener)}", flush=True)  # noqa: T201 told to whoever started it
        config = _config(settings, opened, log_level="warning")
        uvicorn.Server(config).run([listener])


@contextlib.asynccontextmanager
async def sandbox_beside(settings: SandboxSettings, book: Path) -> AsyncIterator[str]:
    """Its URL, on a free port of loopback, while the block runs; raises `BookUnusable`."""
    with open_book(book) as opened, listening("127.0.0.1", 0) as listener:
        server = WebServer(_config(settings, opened, log_level=None))
        serving = asyncio.create_task(server.serve([listener]), name="sandbox")
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            await serving


def _config(settings: SandboxSettings, book: Book, log_level: str | None) -> uvicorn.Config:
    return uvicorn.Config(
        create_sandbox(settings, book),
        http=DroppableProtocol,
        ws="none",
        log_config=None,
        log_level=log_level,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=60,  # longer than a client keeps a connection: none is cut in use
    )
