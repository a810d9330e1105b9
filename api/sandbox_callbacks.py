"""Callbacks of the payment provider sandbox: signed, tried again, sent at least once.

What could not be sent waits in the book, and is tried anew when the sandbox starts.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
import stamina

from api.sandbox_book import Book, Callback
from api.signatures import SIGNATURE_HEADER, sign

log = logging.getLogger("tidings.sandbox")

AT_ONCE: Final = 32
ATTEMPTS: Final = 10


class CallbackSender:
    """Sends in the background."""

    def __init__(self, book: Book, secret: str, client: httpx.AsyncClient) -> None:
        self._book = book
        self._secret = secret
        self._client = client
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, callback: Callback) -> None:
        task = asyncio.create_task(self._sent(callback))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """What is under way stays in the book."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _sent(self, callback: Callback) -> None:
        try:
            for _ in range(callback.copies):
                await self._posted(callback)
            self._book.called_back(callback)
        except Exception as error:  # noqa: BLE001 the merchant's end may fail in any way
            log.warning("a callback to %s has to wait: %s", callback.url, error)

    async def _posted(self, callback: Callback) -> None:
        body = callback.body.encode()
        async for attempt in stamina.retry_context(
            on=httpx.HTTPError, attempts=ATTEMPTS, timeout=None, wait_max=10.0
        ):
            with attempt:
                async with self._slots:
                    headers = {SIGNATURE_HEADER: sign(self._secret, body, time.time())}
                    headers["Content-Type"] = "application/json"
                    answer = await self._client.post(callback.url, content=body, headers=headers)
                    answer.raise_for_status()


@asynccontextmanager
async def callback_sender(book: Book, secret: str) -> AsyncIterator[CallbackSender]:
    """Sends what waits in the book, and what it is given, until the block ends."""
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
        sender = CallbackSender(book, secret, client)
        for callback in book.callbacks():
            sender.send(callback)
        try:
            yield sender
        finally:
            await sender.stop()
