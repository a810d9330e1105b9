"""The web application: GraphQL over three transports, the playground, pages for operators."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.auth import Role, dev_token, open_authenticator
from api.callbacks import callback_route
from api.drain import Drain
from api.examples import EXAMPLES
from api.execution import Executor
from api.http import cors, graphql_endpoint
from api.playground import routes as playground
from api.runtime import Runtime
from api.schema import RIGHTS, SCHEMA
from api.sharing import Sharing
from api.sse import SseEndpoint
from api.websocket import SocketEndpoint
from api.workers import METRICS_FOLDER
from infra.relaying.health import relay_health
from infra.settings import Settings

TOKEN_SECONDS: Final = 12 * 3600


@dataclass(frozen=True)
class App:
    """The application of a process. What is asked most goes straight to its endpoint."""

    served: ASGIApp
    executor: Executor


def create_app(runtime: Runtime, drain: Drain, callback_secret: str | None) -> App:
    """Raises `SettingInvalid`. Callbacks are taken when there is something that they are signed
    with."""
    settings, limits = runtime.settings, runtime.settings.limits
    authenticator = open_authenticator(settings)
    executor = Executor(SCHEMA, limits, introspection=not settings.production, allowed=RIGHTS)
    sharing = Sharing(executor, runtime.context)
    sse = SseEndpoint(
        executor=executor,
        open_context=runtime.context,
        sharing=sharing,
        limits=limits,
        drain=drain,
    )
    socket = SocketEndpoint(
        authenticator=authenticator,
        executor=executor,
        open_context=runtime.context,
        sharing=sharing,
        limits=limits,
        drain=drain,
        allowed_origins=settings.allowed_origins,
    )
    http = graphql_endpoint(executor, authenticator, runtime.context, limits, on_sse=sse.respond)
    others: Any = Starlette(
        routes=[
            WebSocketRoute("/graphql", socket.serve),
            *_operators(runtime, drain),
            *_callbacks(runtime, callback_secret),
            *([] if settings.production else playground(settings.home, EXAMPLES, _token(settings))),
        ],
    )
    behind_proxy: Any = ProxyHeadersMiddleware(others)  # redirects name the scheme
    served = _front(http, behind_proxy)
    for each in cors(settings.allowed_origins):
        served = each.cls(served, *each.args, **each.kwargs)
    return App(served, executor)


def _front(graphql: ASGIApp, others: ASGIApp) -> ASGIApp:
    """A router, its wrappers and its matching cost a third of what a small answer does."""

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/graphql":
            await graphql(scope, receive, send)
        else:
            await others(scope, receive, send)

    return front


def _token(settings: Settings) -> Callable[[], str] | None:
    """Makes development tokens, where there are such."""
    if settings.jwt_issuer is not None:
        return None
    return lambda: dev_token(
        settings, "playground", (Role.STAFF, Role.OPERATOR), None, TOKEN_SECONDS
    )


def _callbacks(runtime: Runtime, secret: str | None) -> list[Route]:
    return [] if secret is None else [callback_route(runtime.log, runtime.handler, secret)]


def _operators(runtime: Runtime, drain: Drain) -> list[Route]:
    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        try:
            snapshot = await runtime.reads.snapshot()
            head = await runtime.log.head()
            relay = await relay_health(runtime.log) if runtime.settings.kafka else None
        except Exception as error:  # noqa: BLE001 whatever it is, we are not ready
            return JSONResponse({"status": "unavailable", "why": type(error).__name__}, 503)
        state = {"head": head.position, "readable": snapshot.position}
        if relay:
            state["relayed"] = relay.position
        if drain.begun:
            return JSONResponse({"status": "draining", **state}, 503)
        if relay and relay.trouble:  # nothing here waits for Kafka: we are as ready as ever
            return JSONResponse({"status": "degraded", "why": relay.trouble, **state})
        return JSONResponse({"status": "ready", **state})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(_counted()), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


def _counted() -> CollectorRegistry:
    """What this process has counted, or all that share its port have."""
    if METRICS_FOLDER not in os.environ:
        return REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together
