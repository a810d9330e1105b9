"""The process of the shipping desk: its database, its two loops and its API, put together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.auth import Principal, Role, dev_token, open_authenticator
from api.errors import ApiError, ErrorCode
from api.execution import Executor, Prepared
from api.http import cors, graphql_endpoint
from api.shipping_desk.calling import Caller
from api.shipping_desk.listening import Listener
from api.shipping_desk.schema import RIGHTS, SCHEMA, Context, Desk
from api.shipping_desk.store import Store
from api.web_server import WebServer, bind, until_signal, url_of
from infra.embedded import embedded_mongod
from infra.http_gateway import open_http_gateway
from infra.mongo import Mongo, open_mongo
from infra.settings import SettingInvalid, Settings, check_url

TOKEN_SECONDS: Final = 365 * 24 * 3_600.0


async def serve_desk(settings: Settings) -> None:
    """Serve until a signal, or until the database is lost; raises `SettingInvalid`."""
    _check(settings)
    shipping = settings.shipping
    with contextlib.closing(bind(shipping.host, shipping.port)) as listener:
        async with _open_mongo(settings) as (mongo, lost), _open_desk(settings, mongo) as desk:
            server = WebServer(
                uvicorn.Config(
                    desk_app(settings, desk),
                    http="httptools",
                    ws="none",
                    log_level="warning",
                    access_log=False,
                    lifespan="off",
                    timeout_graceful_shutdown=int(settings.drain_seconds),
                )
            )
            stopping = until_signal(server)
            running = asyncio.create_task(server.serve([listener]))
            print(f"The shipping desk is serving at {url_of(listener)}", flush=True)  # noqa: T201 told to whoever started it
            await asyncio.wait({stopping, running, lost}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await running
            if lost.done():
                lost.result()


def _check(settings: Settings) -> None:
    if settings.kafka is None:
        raise SettingInvalid(
            "The shipping desk hears of everything by Kafka: set KAFKA_BOOTSTRAP_SERVERS."
        )
    check_url("TIDINGS_SHIPPING_API_URL", settings.shipping.api_url, settings)
    if settings.shipping.token is None and settings.jwt_issuer is not None:
        raise SettingInvalid(
            "The shipping desk reports to our API as staff: set TIDINGS_SHIPPING_TOKEN."
        )


def desk_app(settings: Settings, desk: Desk) -> Starlette:
    """The application; people sign in as they do at our API."""
    shipping = settings.shipping
    authenticator = open_authenticator(replace(settings, host=shipping.host, port=shipping.port))
    executor = Executor(
        SCHEMA, settings.limits, introspection=not settings.production, allowed=RIGHTS
    )

    @asynccontextmanager
    async def context(principal: Principal, trace_id: str) -> AsyncIterator[Context]:
        yield Context(principal, trace_id, desk)

    async def no_stream(
        _: Request, __: Prepared, ___: Mapping[str, Any], ____: Principal
    ) -> Response:
        raise ApiError(ErrorCode.BAD_REQUEST, "There are no streams here.", status=406)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        try:
            await desk.store.counts()
        except Exception as error:  # noqa: BLE001 whatever it is, we are not ready
            return JSONResponse({"status": "unavailable", "why": type(error).__name__}, 503)
        trouble = {"hearing": desk.listener.trouble, "calling": desk.caller.trouble}
        wrong = {name: text for name, text in trouble.items() if text}
        return JSONResponse({"status": "degraded" if wrong else "ready", **wrong})

    endpoint = graphql_endpoint(executor, authenticator, context, settings.limits, on_sse=no_stream)
    return Starlette(
        routes=[
            Route("/graphql", endpoint),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
        middleware=cors(settings.allowed_origins),
    )


@asynccontextmanager
async def _open_mongo(settings: Settings) -> AsyncIterator[tuple[Mongo, asyncio.Future[None]]]:
    """The desk's own database, on the MongoDB that is set or on one of its own."""
    shipping = settings.shipping
    async with AsyncExitStack() as stack:
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        uri = shipping.mongodb_uri
        if uri is None:
            home = settings.home / shipping.home
            mongod = await stack.enter_async_context(embedded_mongod(home))
            uri, lost = mongod.uri, mongod.lost
        yield await stack.enter_async_context(open_mongo(uri, shipping.database)), lost


@asynccontextmanager
async def _open_desk(settings: Settings, mongo: Mongo) -> AsyncIterator[Desk]:
    """The desk with its loops running."""
    kafka, shipping = settings.kafka, settings.shipping
    assert kafka is not None, "it has been checked"
    store = Store(mongo)
    await store.prepare()
    token = shipping.token or dev_token(
        settings, "shipping-desk", [Role.STAFF], None, TOKEN_SECONDS
    )
    async with (
        open_http_gateway("our API", shipping.api_url, token) as gateway,
        asyncio.TaskGroup() as tasks,
    ):
        caller = Caller(store, gateway)
        listener = Listener(store, kafka, told=caller.wake)
        running = [tasks.create_task(caller.run()), tasks.create_task(listener.run())]
        yield Desk(store, caller, listener)
        for task in running:
            task.cancel()
