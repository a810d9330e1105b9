"""One process that serves: the web server, its signals, and an end that loses nothing.

On SIGTERM or Ctrl-C running commands finish and sockets are told to reconnect elsewhere; only then
the web server stops. A second signal stops at once.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace

import uvicorn

from api.app import create_app
from api.callbacks import PATH as CALLBACKS
from api.drain import Drain
from api.paying import Payments, open_payments
from api.runtime import Runtime, open_runtime
from api.web_server import (
    LeanProtocol,
    WebServer,
    WritableSockets,
    bind,
    until_signal,
    url_of,
)
from api.workers import beside
from infra import metrics
from infra.settings import Settings


async def serve(settings: Settings, *, project: bool = True, announce: bool = True) -> None:
    """Serve until a signal, or until MongoDB is lost; with others on the same port, if so set."""
    with contextlib.closing(bind(settings.host, settings.port)) as listener:
        async with (
            open_payments(settings, f"{url_of(listener)}{CALLBACKS}", calls=project) as payments,
            open_runtime(
                settings, project=project, react=payments.calls if project else None
            ) as runtime,
            beside(_for_others(runtime, payments), listener, settings.workers - 1) as workers,
        ):
            await _answer(
                runtime, listener, payments.callback_secret, workers.end, announce=announce
            )


async def serve_beside(settings: Settings, listener: socket.socket) -> None:
    """Serve on the socket of another process, which does all the rest, until a signal."""
    async with open_runtime(settings, project=False) as runtime:
        await _answer(runtime, listener, settings.payment_callback_secret)


def _for_others(runtime: Runtime, payments: Payments) -> Settings:
    """What they need to know, with what is only decided while we start."""
    return replace(
        runtime.settings,
        mongodb_uri=runtime.mongo.uri,
        payment_callback_secret=payments.callback_secret,
    )


async def _answer(
    runtime: Runtime,
    listener: socket.socket,
    callback_secret: str | None,
    end_others: Callable[[], None] = lambda: None,
    *,
    announce: bool = False,
) -> None:
    settings, drain = runtime.settings, Drain()
    app = create_app(runtime, drain, callback_secret)
    server = WebServer(
        uvicorn.Config(
            app.served,
            http=LeanProtocol,
            proxy_headers=False,  # the application looks at them where they matter
            ws=WritableSockets,
            ws_max_size=settings.limits.message_bytes,
            ws_per_message_deflate=False,  # its memory per socket outweighs small messages
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=int(settings.drain_seconds),
        )
    )
    stopping = until_signal(server, end_others)
    running = asyncio.create_task(server.serve([listener]))
    metrics.SERVING.set(1)
    if announce:
        print(_welcome(listener, runtime), flush=True)  # noqa: T201 told to whoever started it
    await asyncio.wait({stopping, running, runtime.lost}, return_when=asyncio.FIRST_COMPLETED)
    await drain.finish(settings.drain_seconds)
    await app.executor.drain()
    server.should_exit = True
    await running
    if runtime.lost.done() and not runtime.lost.cancelled():
        runtime.lost.result()


def _welcome(listener: socket.socket, runtime: Runtime) -> str:
    where = url_of(listener)
    lines = [
        f"Tidings is serving at {where}",
        f"  playground  {where}/  (with a query, a command and a subscription ready to run)",
        f"  GraphQL     {where}/graphql  (HTTP, graphql-transport-ws, SSE)",
        f"  operators   {where}/readyz  {where}/metrics",
    ]
    if runtime.settings.jwt_issuer is None:
        lines.append("  token       tidings token --role staff")
    lines += ["  sample data tidings load demo", "Stop with Ctrl-C."]
    return "\n".join(lines)
