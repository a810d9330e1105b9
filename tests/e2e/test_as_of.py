"""As of: whatever is asked about the past is answered as it was answered then.

Live answers are recorded while history is made. Each tells its position, and is as a whole of that
position: nothing has to stand still for it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from api.auth import Role
from domain.decider import message
from infra.log import EVENTS
from tests.e2e.client import Client, anonymous, code_of
from tests.e2e.server import Server, environment, process, serving
from tests.e2e.shop import Shop
from tests.e2e.trade import Trade

ORDERS: Final = 24
MOMENTS: Final = 20
BOTH: Final = (Role.STAFF, Role.OPERATOR)

MONEY: Final = "{ amount currency }"

THE_THREE: Final = f"""query ($asOf: AsOf) {{
    orders(asOf: $asOf, first: 50, orderBy: [TOTAL_DESC],
        where: {{ status: {{ in: [PLACED, DISPATCHED, DELIVERED, RETURNED] }} }}) {{
      totalCount pageInfo {{ hasNextPage endCursor }}
      nodes {{ id status total {MONEY} lineCount }} }}
    stockLevels(asOf: $asOf, first: 100, orderBy: [AVAILABLE_ASC]) {{
      totalCount nodes {{ sku name onHand reserved available low version }} }}
    salesByDay(asOf: $asOf, from: "1992-01-01", to: "2001-12-31") {{
      day orders units cancelledOrders revenue {MONEY} }} }}"""

WITH_ALL_BELOW: Final = f"""query ($asOf: AsOf) {{
    orders(asOf: $asOf, first: 6, orderBy: [PLACED_AT_ASC]) {{ nodes {{
      id status placedAt confirmedAt version customer {{ name standing }} total {MONEY}
      lines {{ number quantity progress product {{ name available }} }}
      timeline {{ position event actor }}
      payment {{ status captured {MONEY} }} shipment {{ status sent arrived }} }} }} }}"""

LISTS: Final = f"""query ($asOf: AsOf) {{
    customers(asOf: $asOf, search: "ann") {{ totalCount nodes {{ id name standing version }} }}
    products(asOf: $asOf, search: "tea") {{ nodes {{ sku price {MONEY} available version }} }}
    payments(asOf: $asOf, where: {{ status: {{ in: [CAPTURED, REFUNDED, VOIDED] }} }}) {{
      totalCount nodes {{ id status captured {MONEY} refunded {MONEY} version }} }}
    shipments(asOf: $asOf) {{ nodes {{ id status sent arrived version }} }}
    returns(asOf: $asOf) {{ nodes {{ customerId returnedLines returned {MONEY} }} }} }}"""

SUMS: Final = f"""query ($asOf: AsOf) {{
    trialBalance(asOf: $asOf) {{ account currency balance {MONEY} entries }}
    accountStatement(asOf: $asOf, account: REVENUE, currency: "EUR", first: 40) {{
      nodes {{ entryId text amount {MONEY} }} }}
    salesByProduct(asOf: $asOf) {{ nodes {{ sku units revenue {MONEY} }} }}
    backlog(asOf: $asOf, on: "2100-01-01") {{ orderId lines revenue {MONEY} }}
    realFlow(asOf: $asOf) {{ source target count }} }}"""

ORDER: Final = """query ($id: ID!, $asOf: AsOf) { order(id: $id, asOf: $asOf) {
    version status timeline { position } } }"""

PAGE: Final = """query ($asOf: AsOf, $after: String, $first: Int) {
    orders(asOf: $asOf, first: $first, after: $after, orderBy: [TOTAL_ASC]) {
      nodes { id } pageInfo { hasNextPage endCursor } } }"""


@message
class Said:
    """A live answer, and the position that it was of."""

    document: str
    position: str
    data: Any


async def said_during(
    client: Client, documents: Sequence[str], work: Awaitable[None], pause: float
) -> list[Said]:
    """Answers from moments until the work is done, at most one of a position."""
    said: dict[str, Said] = {}
    doing = asyncio.ensure_future(work)
    for document in cycle(documents):
        answer = await client.answer(document)
        said[answer.position] = Said(document=document, position=answer.position, data=answer.data)
        if doing.done():
            break
        await asyncio.sleep(random.uniform(0, pause))
    await doing
    return list(said.values())


async def says_the_same(client: Client, said: Sequence[Said]) -> None:
    """The past answers as the present did, in whichever order it is asked."""
    for then in random.sample(said, len(said)):
        answer = await client.answer(then.document, asOf={"position": then.position})
        assert answer.data == then.data, then.position


@asynccontextmanager
async def opened(mongodb_uri: str, home: Path) -> AsyncIterator[tuple[Server, Client]]:
    """A server on a database of its own, and somebody who may see everything."""
    settings = {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": f"as-of-{uuid4().hex}"}
    with serving(home, settings) as server:
        async with anonymous(server.graphql, home) as nobody:
            yield server, nobody.signed_in(BOTH)
        with server.database() as left:
            left.client.drop_database(left.name)


async def test_the_past_of_a_days_trade(mongodb_uri: str, tmp_path: Path) -> None:
    async with opened(mongodb_uri, tmp_path) as (server, client):
        trade = Trade(Shop(client))
        await trade.open()
        documents = (THE_THREE, WITH_ALL_BELOW, LISTS, SUMS)
        said = await said_during(client, documents, trade.run(ORDERS), pause=0.1)
        await client.done("receiveStock", sku="LATER", quantity=1, source="supplier")
        await says_the_same(client, random.sample(said, min(MOMENTS, len(said))))
        await every_version(client, next(iter(trade.plans)))
        await page_by_page(client, said[-1].position)
        await by_time(server, client)


async def every_version(client: Client, order: str) -> None:
    """Of an order, from its first event to the last."""
    last = (await client.run(ORDER, id=order))["order"]
    for version, entry in enumerate(last["timeline"], start=1):
        answer = await client.answer(ORDER, id=order, asOf={"version": version})
        found = answer.data["order"]
        assert (found["version"], found["timeline"]) == (version, last["timeline"][:version])
        assert answer.position == entry["position"]
    assert last["version"] == len(last["timeline"]) > 1


async def page_by_page(client: Client, position: str) -> None:
    """All pages are of one moment, however long it takes to turn them."""
    whole = await client.run(PAGE, first=100, asOf={"position": position})
    nodes, after, more = [], None, True
    while more:
        page = (await client.run(PAGE, first=7, after=after, asOf={"position": position}))["orders"]
        nodes += page["nodes"]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert nodes == whole["orders"]["nodes"]


async def by_time(server: Server, client: Client) -> None:
    """All that was recorded by then; events of one millisecond are not torn apart."""
    with server.database() as database:
        events = list(database[EVENTS].find(sort=[("_id", 1)]))
    for event in random.sample(events, 10):
        at = event["meta"]["recorded_at"]
        answer = await client.answer(THE_THREE, asOf={"time": f"{at.isoformat()}+00:00"})
        last = max(one["_id"] for one in events if one["meta"]["recorded_at"] <= at)
        assert answer.position == f"0:{last}"
    first = events[0]["meta"]["recorded_at"] - timedelta(seconds=1)
    nothing = await client.run(THE_THREE, asOf={"time": f"{first.isoformat()}+00:00"})
    assert nothing["salesByDay"] == nothing["stockLevels"]["nodes"] == []


@pytest.mark.tpch
async def test_the_past_of_tpch(mongodb_uri: str, tmp_path: Path) -> None:
    async with opened(mongodb_uri, tmp_path) as (server, client):
        loading = load(server, tmp_path)
        said = await said_during(client, [THE_THREE], loading, pause=2)
        assert len(said) >= MOMENTS
        await client.done("receiveStock", sku="LATER", quantity=1, source="supplier")
        await says_the_same(client, random.sample(said, MOMENTS))


async def load(server: Server, home: Path) -> None:
    settings = environment(home, server.settings)
    with process(("load", "tpch", "--scale", "0.01"), settings) as running:
        output, _ = await asyncio.to_thread(running.communicate)
    assert running.returncode == 0, output


async def test_what_cannot_be_asked(shop: Shop) -> None:
    order = await shop.order(await shop.customer(), await shop.product())

    async def refused(document: str, **variables: Any) -> str:
        answer = await shop.staff.answer(document, **variables)
        return code_of(answer.body["errors"])

    head = int(order["position"].partition(":")[2])
    assert await refused(THE_THREE, asOf={"position": f"0:{head + 1_000_000}"}) == "BAD_REQUEST"
    assert await refused(ORDER, id=order["aggregateId"], asOf={"version": 9}) == "BAD_REQUEST"
    assert await refused(PAGE, asOf={"version": 1}) == "BAD_REQUEST"
    both = '{ orders(asOf: { position: "0:1" }, atLeast: "0:1") { totalCount } }'
    assert await refused(both) == "BAD_REQUEST"


async def test_the_past_of_others_is_not_told(shop: Shop) -> None:
    owner, other = await shop.customer(), await shop.customer()
    order = await shop.order(owner, await shop.product())
    asked = {"id": order["aggregateId"], "asOf": {"position": order["position"]}}
    await shop.product()
    own = await shop.staff.customer(owner).run(ORDER, **asked)
    assert own["order"]["status"] == "PLACED"
    answer = await shop.staff.customer(other).answer(ORDER, **asked)
    assert code_of(answer.body["errors"]) == "FORBIDDEN"
