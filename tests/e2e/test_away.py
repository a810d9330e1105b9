"""When MongoDB is away: typed, temporary, and over once it is back."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

from api.errors import answer_errors
from infra.embedded import embedded_mongod
from infra.mongo import Unavailable
from tests.e2e.client import STAFF, Client, anonymous, code_of, eventually
from tests.e2e.server import serving
from tests.e2e.shop import new_sku

ORDERS = "{ orders { totalCount } }"


def test_a_store_that_is_away_is_unavailable_and_its_address_stays_with_us() -> None:
    (told,) = answer_errors([Unavailable("10.0.0.7:27017 timed out")], "trace", 5)
    assert told["extensions"] == {"code": "UNAVAILABLE", "traceId": "trace"}
    assert "10.0.0.7" not in told["message"]


async def test_while_mongodb_is_away_clients_are_told_to_come_again(tmp_path: Path) -> None:
    home, data, key = tmp_path / "home", tmp_path / "data", uuid4()
    async with embedded_mongod(data) as mongod:
        server = serving(home, {"MONGODB_URI": mongod.uri})
        running = await asyncio.to_thread(server.__enter__)
    try:
        async with anonymous(running.graphql, home) as anyone:
            staff, sku = anyone.signed_in(STAFF), new_sku()
            query, sent, over_socket = await asyncio.gather(
                staff.answer(ORDERS),
                staff.send_raw("receiveStock", "", key, sku=sku, quantity=1),
                asked_over_socket(staff),
            )
            for answer in (query, sent):
                assert (answer.status, answer.codes) == (503, ["UNAVAILABLE"])
                assert int(answer.headers["retry-after"]) >= 1
            assert code_of(over_socket["payload"]["errors"]) == "UNAVAILABLE"

            async def recovered() -> Any:
                again = await staff.send_raw("receiveStock", "", key, sku=sku, quantity=1)
                return again.data["receiveStock"]["receipt"] if again.status == 200 else None

            async with embedded_mongod(data):
                assert (await eventually(recovered))["version"] == 1
                assert (await staff.answer(ORDERS)).status == 200
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


async def asked_over_socket(staff: Client) -> Any:
    async with staff.socket() as socket:
        await socket.subscribe(ORDERS)
        return await socket.heard()
