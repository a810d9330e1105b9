"""Reading one's own writes, with a projector in another process that is held up on purpose."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.client import STAFF, Client, anonymous
from tests.e2e.server import environment, process, serving
from tests.e2e.shop import Shop

STOCK = "query ($s: String!, $at: Position) { stockLevel(sku: $s, atLeast: $at) { onHand } }"


@dataclass(frozen=True)
class Apart:
    """A server that does not project, and the process that does."""

    url: str
    home: Path
    projector: subprocess.Popen[str]

    def hold_up(self) -> None:
        self.projector.send_signal(signal.SIGSTOP)

    def let_go(self) -> None:
        self.projector.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def apart(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    home = tmp_path_factory.mktemp("apart")
    settings = {"MONGODB_URI": mongodb_uri, "TIDINGS_DATABASE": f"e2e-{uuid4().hex}"}
    with (
        process(("project",), environment(home, settings)) as projector,
        serving(home, settings, "--only", "api") as server,
    ):
        yield Apart(server.graphql, home, projector)
        with server.database() as database:
            database.client.drop_database(database.name)


@pytest.fixture
async def client(apart: Apart) -> AsyncIterator[Client]:
    """Staff; when they are done, the projector runs."""
    async with anonymous(apart.url, apart.home) as anyone:
        yield anyone.signed_in(STAFF)
    apart.let_go()


async def test_a_write_is_seen_at_its_position_however_slow_the_projector(
    apart: Apart, client: Client
) -> None:
    sku, pieces = await Shop(client).product(), 0

    async def let_go_later() -> None:
        await asyncio.sleep(0.05)
        apart.let_go()

    for quantity in range(1, 21):
        apart.hold_up()
        payload = await client.done("receiveStock", sku=sku, quantity=quantity)
        pieces += quantity
        late = asyncio.create_task(let_go_later())
        found = await client.run(STOCK, s=sku, at=payload["receipt"]["position"])
        assert found["stockLevel"]["onHand"] == pieces
        await late


async def test_a_projector_that_stands_still_is_waited_for_two_seconds(
    apart: Apart, client: Client
) -> None:
    sku = await Shop(client).product()
    before = await client.done("receiveStock", "stockLevel { onHand }", sku=sku, quantity=1)
    apart.hold_up()
    payload = await client.done("receiveStock", sku=sku, quantity=1)
    begin = time.monotonic()
    answer = await client.answer(STOCK, s=sku, at=payload["receipt"]["position"])
    assert 1.9 < time.monotonic() - begin < 4
    assert (answer.status, answer.codes) == (200, ["READ_MODEL_BEHIND"])
    old = await client.answer(STOCK, s=sku, at=before["receipt"]["position"])
    assert old.data["stockLevel"] == before["stockLevel"] == {"onHand": 1}
    apart.let_go()
    again = await client.run(STOCK, s=sku, at=payload["receipt"]["position"])
    assert again["stockLevel"] == {"onHand": 2}


async def test_a_command_is_done_even_when_its_effect_cannot_be_shown_yet(
    apart: Apart, client: Client
) -> None:
    sku = await Shop(client).product()
    apart.hold_up()
    answer = await client.send_raw("receiveStock", "stockLevel { onHand }", sku=sku, quantity=1)
    assert answer.codes == ["READ_MODEL_BEHIND"]
    assert answer.body["errors"][0]["path"] == ["receiveStock", "stockLevel"]
    payload = answer.body["data"]["receiveStock"]
    assert (payload["errors"], payload["stockLevel"]) == ([], None)
    assert payload["receipt"]["version"] == 1
    quick = await client.done("receiveStock", sku=sku, quantity=1)
    assert quick["receipt"]["version"] == 2


async def test_a_subscription_goes_on_where_the_projector_does(
    apart: Apart, client: Client
) -> None:
    shop = Shop(client)
    customer, sku = await shop.customer(), await shop.product()
    first = await shop.order(customer, sku)
    apart.hold_up()
    second = await shop.order(customer, sku)
    async with client.socket() as socket:
        await socket.subscribe(
            "subscription ($id: ID!, $at: Position) {"
            " notifications(customerId: $id, after: $at) { position gap { to } } }",
            variables={"id": customer, "at": first["position"]},
        )
        await asyncio.sleep(0.2)
        apart.let_go()
        told = (await socket.next())["notifications"]
    assert told == {"position": second["position"], "gap": None}
