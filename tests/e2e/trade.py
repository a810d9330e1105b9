"""A day's trade: what customers and staff do with many orders, over GraphQL only.

1. What becomes of an order is planned by its number: see `PLANS`.
2. Staff works through the list of shipments and tries again later what cannot be done yet, as
   people do; every command is a new one.
3. Whoever is refused has come too late or too early, and the only refusals are those named here.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import cycle
from typing import Any, Final

from tests.e2e.client import Client
from tests.e2e.shop import Shop, money, new_sku

SENDERS: Final = 16
STAFF_AT_ONCE: Final = 16
PAUSE: Final = 0.2
CUSTOMERS: Final = 20
PRODUCTS: Final = 60
CURRENCIES: Final = ("EUR", "USD")
PRICES: Final = ("9.99", "0.35", "120.00", "7.77", "33.33")

OPEN: Final = "[PLACED, CONFIRMED, PARTLY_DISPATCHED, DISPATCHED, PARTLY_DELIVERED]"

LATE: Final = frozenset({"ORDER_IS_ON_ITS_WAY", "ORDER_IS_CANCELLED", "SHIPMENT_IS_CALLED_OFF"})
EARLY: Final = frozenset({"LINE_NOT_DELIVERED", "LINE_NOT_DISPATCHED"})


class Plan(Enum):
    """What is to become of an order, unless its payment is declined."""

    KEPT = auto()
    SHORT = auto()
    CANCELLED_AT_ONCE = auto()
    CANCELLED_WHEN_PAID = auto()
    IN_TWO_PARCELS = auto()
    PARTLY_RETURNED = auto()
    RETURNED = auto()


PLANS: Final = (
    *(Plan.KEPT,) * 8,
    *(Plan.SHORT, Plan.CANCELLED_AT_ONCE, Plan.CANCELLED_AT_ONCE, Plan.CANCELLED_WHEN_PAID),
    *(Plan.CANCELLED_WHEN_PAID, Plan.IN_TWO_PARCELS, Plan.IN_TWO_PARCELS, Plan.IN_TWO_PARCELS),
    *(Plan.PARTLY_RETURNED, Plan.PARTLY_RETURNED, Plan.RETURNED, Plan.RETURNED),
)

SHIPMENTS: Final = """{ shipments(first: 100, orderBy: [BOOKED_AT_ASC],
    where: { status: { in: [BOOKED, PARTLY_SENT, SENT, PARTLY_ARRIVED] } }) {
  nodes { id orderId status lines sent arrived } } }"""

UNFINISHED: Final = f"{{ orders(where: {{ status: {{ in: {OPEN} }} }}) {{ totalCount }} }}"


@dataclass
class Trade:
    """`plans` and `customers` are by order; `returning` are lines that are still to come back."""

    shop: Shop
    customers: Sequence[str] = ()
    skus: dict[str, list[str]] = field(default_factory=dict)
    scarce: dict[str, str] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    buyers: dict[str, Client] = field(default_factory=dict)
    returning: dict[str, list[int]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)

    # -- setting up

    async def open(self) -> None:
        """Customers, and products with stock in each currency; one product is hardly there."""
        self.customers = [await self.shop.customer(f"Ann {n}") for n in range(CUSTOMERS)]
        prices = cycle(PRICES)
        for currency in CURRENCIES:
            self.skus[currency] = [
                await self._product(currency, next(prices), 1_000_000)
                for _ in range(PRODUCTS // len(CURRENCIES))
            ]
            self.scarce[currency] = await self._product(currency, next(prices), 1)

    async def _product(self, currency: str, price: str, stock: int) -> str:
        sku, staff = new_sku(), self.shop.staff
        await staff.done(
            "addProduct", sku=sku, name="Tea", price=money(price, currency), taxRate="0.19"
        )
        await staff.done("receiveStock", sku=sku, quantity=stock, source="supplier")
        return sku

    async def run(self, orders: int) -> None:
        """Have all orders placed, and worked on until every one is finished."""
        async with asyncio.TaskGroup() as tasks:
            placing = tasks.create_task(self._place_all(orders))
            tasks.create_task(self._work(placing))

    # -- customers

    async def _place_all(self, orders: int) -> None:
        """Customers place orders, several at a time, and some think better of it at once."""
        numbers = iter(range(orders))

        async def send() -> None:
            for number in numbers:
                await self._place(number)

        await _all(send() for _ in range(SENDERS))

    async def _place(self, number: int) -> None:
        plan = PLANS[number % len(PLANS)]
        customer_id = self.customers[number % CUSTOMERS]
        buyer = self.shop.staff.customer(customer_id)
        placed = await buyer.done("placeOrder", customerId=customer_id, lines=self._lines(number))
        order_id = placed["receipt"]["aggregateId"]
        self.buyers[order_id], self.plans[order_id] = buyer, plan
        if plan is Plan.CANCELLED_AT_ONCE:
            await self._cancel(order_id)

    def _lines(self, number: int) -> list[dict[str, Any]]:
        """Two or three lines of one currency, of products next to each other."""
        currency = CURRENCIES[number // len(PLANS) % len(CURRENCIES)]
        skus = self.skus[currency]
        chosen = [skus[(number + n) % len(skus)] for n in range(2 + number % 2)]
        lines = [{"sku": sku, "quantity": 1 + number % 3} for sku in chosen]
        if PLANS[number % len(PLANS)] is Plan.SHORT:
            lines.append({"sku": self.scarce[currency], "quantity": 2})
        return lines

    async def _cancel(self, order_id: str) -> None:
        reason = {"orderId": order_id, "reason": "Found it cheaper"}
        await self._sent(self.buyers[order_id], LATE, "cancelOrder", **reason)

    # -- staff

    async def _work(self, placing: asyncio.Task[None]) -> None:
        """Send, record arrivals and take back, until every order is finished."""
        while not placing.done() or await self._is_unfinished():
            found = await self.shop.staff.run(SHIPMENTS)
            await _limited(self._handle, found["shipments"]["nodes"])
            await _limited(self._take_back, list(self.returning))
            await asyncio.sleep(PAUSE)

    async def _is_unfinished(self) -> bool:
        found = await self.shop.staff.run(UNFINISHED)
        return bool(self.returning) or found["orders"]["totalCount"] > 0

    async def _handle(self, shipment: Any) -> None:
        """The next step of a shipment."""
        order_id, sent, arrived = shipment["orderId"], shipment["sent"], shipment["arrived"]
        plan = self.plans.get(order_id)
        if plan is None:  # whoever has placed it does not know its number yet
            return
        if plan is Plan.CANCELLED_WHEN_PAID and not sent:
            await self._cancel(order_id)
        elif plan is Plan.IN_TWO_PARCELS and not sent:
            await self._staff("sendShipment", shipment, lines=[1])
        elif sent != arrived:
            await self._staff("recordArrival", shipment)
            if len(sent) == len(shipment["lines"]):
                self._plan_return(order_id, plan, sent)
        else:
            await self._staff("sendShipment", shipment)

    def _plan_return(self, order_id: str, plan: Plan, lines: list[int]) -> None:
        if plan is Plan.PARTLY_RETURNED:
            self.returning[order_id] = lines[:1]
        elif plan is Plan.RETURNED:
            self.returning[order_id] = list(lines)

    async def _take_back(self, order_id: str) -> None:
        """One line at a time, once it has been delivered."""
        lines = self.returning[order_id]
        back = {"orderId": order_id, "lines": lines[:1], "reason": "Too bitter"}
        if await self._sent(self.shop.staff, EARLY, "returnLines", **back):
            self.returning[order_id] = lines[1:]
            if not lines[1:]:
                del self.returning[order_id]

    async def _staff(self, mutation: str, shipment: Any, **input: Any) -> None:
        await self._sent(self.shop.staff, LATE, mutation, shipmentId=shipment["id"], **input)

    async def _sent(
        self, client: Client, acceptable: frozenset[str], mutation: str, **input: Any
    ) -> bool:
        """Whether it was accepted; else it was refused for an acceptable reason."""
        payload = await client.send(mutation, **input)
        codes = {error["code"] for error in payload["errors"]}
        assert codes <= acceptable, payload["errors"]
        self.refusals.update(codes)
        return not codes


async def _all(works: Any) -> None:
    async with asyncio.TaskGroup() as tasks:
        for work in works:
            tasks.create_task(work)


async def _limited(handle: Callable[[Any], Awaitable[None]], things: Sequence[Any]) -> None:
    """Handle each of them, a few at a time."""
    waiting = iter(things)

    async def worker() -> None:
        for thing in waiting:
            await handle(thing)

    await _all(worker() for _ in range(STAFF_AT_ONCE))
