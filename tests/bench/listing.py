"""Lists of orders with their lines and addresses over HTTP, against a plain CRUD server.

Each request is for the page behind another one of several thousand orders, without a pattern: no
answer is asked for again before all others were. Both servers list by key and answer with the same
fields of the same number of orders.
"""

import asyncio
import random
from contextlib import closing
from itertools import cycle, islice
from typing import Final

from infra.rebuild import prepare_read_models
from readmodels.registry import PROJECTIONS
from tests.bench.figures import Figure
from tests.bench.http_load import Connection, Load, ask, connected, post
from tests.bench.place import Place, accepted, handler_on, pieces
from tests.bench.processes import Server, crud, tidings
from tests.bench.samples import orders
from tests.bench.serving import (
    READERS,
    WRITERS,
    Metered,
    compared,
    crud_order,
    shown,
    token,
)

ORDERS: Final = 4_000
PAGE: Final = 50
STEP: Final = 100
"""Orders in a page while the cursors are collected."""

LIST: Final = """query($first: Int!, $after: String) {
  orders(first: $first, after: $after) {
    nodes {
      id status total { amount currency }
      lines { sku name quantity unitPrice { amount currency } }
      deliverTo { street city postalCode country region }
    }
  }
}"""
OUR_CURSORS: Final = """query($first: Int!, $after: String) {
  orders(first: $first, after: $after) { edges { cursor } }
}"""
CRUD_CURSORS: Final = """query($first: Int!, $after: String) {
  orders(first: $first, after: $after) { nodes { id } }
}"""


async def listing(place: Place) -> list[Figure]:
    """With what Tidings keeps in memory, and with its documents read from MongoDB."""
    async with place.log() as log, place.database() as plain:
        await prepare_read_models(log, PROJECTIONS)
        async with handler_on(log) as handler:
            for piece in pieces(islice(orders(), ORDERS), WRITERS):
                await asyncio.gather(*(accepted(handler, order) for order in piece))
        async with crud(place, plain) as other:
            await fill(other)
            name = log.mongo.name
            async with tidings(place, name) as ours:
                await shown(place, log, ours)
                figures = await lists(place, ours, other, "", 12)
            async with tidings(place, name, TIDINGS_DOCUMENTS_IN_MEMORY="0") as ours:
                await shown(place, log, ours)
                figures += await lists(place, ours, other, ", no documents in memory", None)
    return figures


async def fill(server: Server) -> None:
    """The CRUD server with as many orders, placed through it."""
    numbers = iter(range(ORDERS))

    async def some(connection: Connection) -> None:
        with closing(connection):
            for number in numbers:
                await connection.ask(crud_order(number))

    await asyncio.gather(*[some(await connected(server.port)) for _ in range(WRITERS)])


async def lists(
    place: Place, ours: Server, other: Server, how: str, least: float | None
) -> list[Figure]:
    signed = token(place)
    our_cursors = await cursors(ours, OUR_CURSORS, ("edges", "cursor"), ORDERS, signed)
    crud_cursors = await cursors(other, CRUD_CURSORS, ("nodes", "id"), ORDERS)
    return await compared(
        f"orders(first: {PAGE}){how}",
        least,
        Metered(ours, pages(ours, our_cursors, signed)),
        Metered(other, pages(other, crud_cursors)),
    )


async def cursors(
    server: Server, query: str, path: tuple[str, str], most: int, signed: str | None = None
) -> list[str]:
    """Of so many orders, without those that have no whole page behind them."""
    items, name = path
    found: list[str] = []
    while len(found) < most:
        variables = {"first": STEP, "after": found[-1] if found else None}
        answer = await ask(server.port, post({"query": query, "variables": variables}, signed))
        page = [each[name] for each in answer["data"]["orders"][items]]
        assert page, f"{len(found)} of {most} orders are listed"
        found += page
    return found[:-PAGE]


def pages(server: Server, behind: list[str], signed: str | None = None) -> Load:
    """Ready-made requests for the page behind each of these orders, shuffled."""
    requests = [
        post({"query": LIST, "variables": {"first": PAGE, "after": cursor}}, signed)
        for cursor in random.sample(behind, len(behind))
    ]
    return Load(
        port=server.port, connections=READERS, requests=cycle(requests), marks=b'"nodes":[{"id":'
    )
