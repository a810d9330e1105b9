"""What a web server can do at best: Starlette, without GraphQL and without any rule.

* `POST /graphql` parses its body with orjson and inserts it with Motor, acknowledged by majority
  and journal; the answer says the id.
* `/graphql` as a websocket is accepted and told everything; `POST /tell` sends its body, ready
  made, to all of them.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
import uvicorn
from motor.motor_asyncio import AsyncIOMotorClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


def create_app(uri: str, database: str) -> Starlette:
    sockets: set[WebSocket] = set()

    @asynccontextmanager
    async def connected(app: Starlette) -> AsyncIterator[None]:
        client: Any = AsyncIOMotorClient(uri, w="majority", journal=True)
        app.state.orders = client[database]["bare_orders"]
        yield
        client.close()

    async def insert(request: Request) -> Response:
        order = orjson.loads(await request.body())
        order["_id"] = f"order-{uuid4()}"
        await request.app.state.orders.insert_one(order)
        return Response(orjson.dumps({"id": order["_id"]}), media_type="application/json")

    async def listen(websocket: WebSocket) -> None:
        await websocket.accept(websocket.scope["subprotocols"][0])
        sockets.add(websocket)
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            sockets.discard(websocket)

    async def tell(request: Request) -> Response:
        text = (await request.body()).decode()
        for websocket in tuple(sockets):
            await websocket.send_text(text)
        return Response(b"{}", media_type="application/json")

    routes = [
        Route("/graphql", insert, methods=["POST"]),
        Route("/tell", tell, methods=["POST"]),
        WebSocketRoute("/graphql", listen),
    ]
    return Starlette(lifespan=connected, routes=routes)


def serve(app: Starlette, port: int) -> None:
    """As the servers are run that Tidings is held against."""
    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    serve(create_app(sys.argv[1], sys.argv[2]), int(sys.argv[3]))
