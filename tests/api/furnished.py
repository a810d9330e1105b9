"""Everything that can be asked about, on a real MongoDB in this process, and then at rest.

1. The demo is loaded, and orders go all the way to cash by the payment sandbox beside us: bought,
   declined, cancelled, sent in two parcels, delivered, returned.
2. Then reactions are closed: nothing moves any more but what a test moves.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

from rich.console import Console
from rich.progress import Progress

from api.auth import Principal, Role
from api.execution import Answer, Executor
from api.loading import demo
from api.loading.senders import ToHandler
from api.loading.telling import tell
from api.paying import open_payments
from api.runtime import Runtime, open_runtime
from api.schema import RIGHTS, SCHEMA
from domain.recorded import position_text
from infra.settings import Limits, PastLimits, Settings
from readmodels.registry import PROJECTIONS
from tests.e2e.client import command

PATIENCE: Final = 60.0
NAMESPACE: Final = UUID("3f1c9f5e-8a0b-4c55-9a1e-0d6f2b7c4e10")
LIMITS: Final = Limits(
    tokens=100_000,
    depth=40,
    aliases=1_000,
    fields=10_000,
    directives=1_000,
    root_fields=200,
    cost=100_000_000,
    cost_per_minute=10**12,
    seconds=60.0,
    errors=100,
)
"""So generous that next to nothing is refused for its size."""

ALICE, BOB = (
    Principal(n, frozenset({Role.CUSTOMER}), demo.customer_id(i), time.time() + 10**6)
    for i, n in ((1, "ann"), (2, "blume"))
)
STAFF: Final = Principal("sam", frozenset({Role.STAFF}), None, time.time() + 10**6)
OPERATOR: Final = Principal("olga", frozenset({Role.OPERATOR}), None, time.time() + 10**6)


@dataclass(frozen=True)
class Known:
    """What is there to be asked for; positions and the like as text."""

    customers: tuple[str, ...]
    orders: tuple[str, ...]
    payments: tuple[str, ...]
    shipments: tuple[str, ...]
    skus: tuple[str, ...]
    branches: tuple[str, ...]
    projections: tuple[str, ...]
    commands: tuple[str, ...]
    positions: tuple[str, ...]
    cursors: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Furnished:
    runtime: Runtime
    executor: Executor
    known: Known

    async def run(self, document: str, principal: Principal = STAFF, **variables: Any) -> Any:
        """The data of an operation without errors."""
        return data_of(await self.answer(document, principal, variables))

    async def answer(
        self, document: str, principal: Principal, variables: Mapping[str, Any]
    ) -> Answer:
        prepared = self.executor.prepare(document, None)
        async with self.runtime.context(principal, "trace") as context:
            return await self.executor.execute(prepared, variables, context)

    async def projected(self) -> None:
        """Return when the read models have come to the end of the log."""
        async with asyncio.timeout(PATIENCE):
            while self.runtime.reads.position < (await self.runtime.log.head()).position:  # noqa: ASYNC110 they set no event
                await asyncio.sleep(0.002)


def data_of(answer: Answer) -> Any:
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


@asynccontextmanager
async def furnished(uri: str, database: str, home: Path) -> AsyncIterator[Furnished]:
    settings = Settings(
        mongodb_uri=uri,
        database=database,
        home=home,
        sampler_share=0.0,
        at_least_seconds=0.01,
        past=PastLimits(generations=1_000, wait_seconds=PATIENCE),
    )
    nothing = Known((), (), (), (), (), (), (), (), (), {})
    async with (
        open_payments(settings, None, calls=True) as payments,
        open_runtime(settings, react=payments.calls) as runtime,
    ):
        await tell(demo.demo(), ToHandler(runtime.handler), Progress(console=Console(quiet=True)))
        made = await _Maker(Furnished(runtime, _executor(), nothing)).all()
    async with open_runtime(settings) as runtime:
        here = Furnished(runtime, _executor(), nothing)
        await here.projected()
        yield replace(here, known=await _known(here, made))


def _executor() -> Executor:
    return Executor(SCHEMA, LIMITS, introspection=True, allowed=RIGHTS)


class _Maker:
    """Sends commands, the same each time."""

    def __init__(self, shop: Furnished) -> None:
        self._shop, self._sent = shop, 0
        self.commands: list[str] = []

    async def all(self) -> tuple[list[str], list[str]]:
        """Commands of the stories, and branches."""
        ann, blume = ALICE.customer_id, BOB.customer_id
        bought = [
            await self._order(ann, {"TEA-GREEN": 2, "CUP-BLUE": 1}),
            await self._order(ann, {"TEA-BLACK": 1, "TEA-MINT": 1, "CUP-WHITE": 2}),
            await self._order(blume, {"CUP-WHITE": 3}),
            await self._order(blume, {"TEA-GREEN": 1}, card="declined"),
            await self._order(blume, {"POT-CLAY": 500}),
            await self._order(ann, {"HONEY-LIME": 1, "TEA-GREEN": 1}),
        ]
        expected = ("CONFIRMED", "CONFIRMED", "CONFIRMED", "CANCELLED", "CANCELLED", "CONFIRMED")
        await self._until(bought, expected)
        parcels = [order.replace("order-", "shipment-") for order in bought]
        await self._send("sendShipment", shipmentId=parcels[0])
        await self._send("sendShipment", shipmentId=parcels[1], lines=[1])
        await self._until(bought[:2], ("DISPATCHED", "PARTLY_DISPATCHED"))
        await self._send("recordArrival", shipmentId=parcels[0])
        await self._send("cancelOrder", orderId=bought[2], reason="Found it cheaper")
        await self._until((bought[0], bought[2]), ("DELIVERED", "CANCELLED"))
        await self._send("returnLines", orderId=bought[0], lines=[2], reason="Chipped")
        await self._send("renameProduct", sku="TEA-MINT", name="Pepper\u00admint tea “№ 1”")
        suspended = demo.customer_id(4)
        await self._send("suspendCustomer", customerId=suspended, reason="Does not pay")
        branches = await self._branches()
        await self._rebuilt()
        return self.commands, branches

    async def _order(self, customer: str | None, lines: Mapping[str, int], **more: Any) -> str:
        asked = [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]
        sent = await self._send("placeOrder", customerId=customer, lines=asked, **more)
        return str(sent["receipt"]["aggregateId"])

    async def _send(self, name: str, /, **input: Any) -> Any:
        self._sent += 1
        command_id = str(uuid5(NAMESPACE, f"{name} {self._sent}"))
        asked = {"commandId": command_id, **input}
        payload = (await self._shop.run(command(name), input=asked))[name]
        assert payload["errors"] == [], payload
        self.commands.append(command_id)
        return payload

    async def _until(self, orders: Sequence[str], statuses: Sequence[str]) -> None:
        """Return when these orders are so far, with their shipments and payments."""
        ask = "query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Order { status } } }"
        async with asyncio.timeout(PATIENCE):
            while True:
                nodes = (await self._shop.run(ask, ids=list(orders)))["nodes"]
                if [node and node["status"] for node in nodes] == list(statuses):
                    return
                await asyncio.sleep(0.05)

    async def _branches(self) -> list[str]:
        """One without a change, and one with three kinds of them."""
        kept, changed = [
            (
                await self._shop.run(
                    "mutation ($n: String!) { createBranch(input: { name: $n, "
                    'at: { position: "0:30" } }) { branch { id } errors { message } } }',
                    n=name,
                )
            )["createBranch"]["branch"]["id"]
            for name in ("kept", "changed")
        ]
        rule = 'repriced: { sku: "TEA-GREEN", factor: "1.5", since: "2026-10-02" }'
        for change in (
            f'dropEvents(input: {{ branch: "{changed}", positions: ["0:31"] }})',
            f'useVariant(input: {{ branch: "{changed}", variant: {{ {rule} }} }})',
        ):
            done = await self._shop.run(f"mutation {{ done: {change} {{ errors {{ message }} }} }}")
            assert done["done"]["errors"] == [], done
        for branch in (kept, changed):
            await self._shop.run(f'{{ branchDiff(branch: "{branch}") {{ refusedCount }} }}')
        return [kept, changed]

    async def _rebuilt(self) -> None:
        """A read model built anew, so that there are jobs and generations to tell of."""
        begin = (
            'mutation { rebuildReadModel(input: { projection: "payments" }) { errors { code } } }'
        )
        await self._shop.run(begin, OPERATOR)
        async with asyncio.timeout(PATIENCE):
            while True:
                jobs = (await self._shop.run("{ rebuilds { state } }", OPERATOR))["rebuilds"]
                if [job["state"] for job in jobs] == ["DONE"]:
                    return
                await asyncio.sleep(0.05)


EVERYTHING: Final = """{
  orders(first: 100) { edges { cursor node { id payment { id } shipment { id } } } }
  customers(first: 100) { edges { cursor node { id } } }
  products(first: 100) { edges { cursor node { sku } } }
  payments(first: 100) { edges { cursor } }
  shipments(first: 100) { edges { cursor } }
  stockLevels(first: 100) { edges { cursor } }
  returns(first: 100) { edges { cursor } }
  salesByProduct(first: 100) { edges { cursor } }
  accountStatement(account: CASH, currency: "EUR") { edges { cursor } }
}"""


async def _known(shop: Furnished, made: tuple[list[str], list[str]]) -> Known:
    found = await shop.run(EVERYTHING)
    commands, branches = made
    end = (await shop.runtime.log.head()).position
    orders = [edge["node"] for edge in found["orders"]["edges"]]
    return Known(
        customers=tuple(edge["node"]["id"] for edge in found["customers"]["edges"]),
        orders=tuple(order["id"] for order in orders),
        payments=tuple(order["payment"]["id"] for order in orders if order["payment"]),
        shipments=tuple(order["shipment"]["id"] for order in orders if order["shipment"]),
        skus=tuple(edge["node"]["sku"] for edge in found["products"]["edges"]),
        branches=tuple(branches),
        projections=tuple(projection.name for projection in PROJECTIONS),
        commands=tuple(commands),
        positions=tuple(position_text(n) for n in (end, 20, end // 2, end - 3)),
        cursors={
            name: tuple(edge["cursor"] for edge in page["edges"]) for name, page in found.items()
        },
    )
