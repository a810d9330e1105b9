"""What a test needs to be there first: a customer, a product with stock, an order.

1. Names are new in each test, so that tests can share one server.
2. Orders are imported unless a test says otherwise: no process moves them, only the test does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from tests.e2e.client import Client

ADDRESS: Final = {
    "street": "Mint Lane 1",
    "city": "Hull",
    "postalCode": "HU1 1AA",
    "country": "United Kingdom",
    "region": "North",
}


def money(amount: str, currency: str = "EUR") -> Mapping[str, str]:
    return {"amount": amount, "currency": currency}


def new_sku() -> str:
    return f"TEA-{uuid4().hex[:12].upper()}"


@dataclass(frozen=True)
class Shop:
    """The staff of a shop, and what they set up."""

    staff: Client

    async def customer(self, name: str = "Ann Smith", segment: str = "") -> str:
        """The id of a new customer."""
        payload = await self.staff.done(
            "registerCustomer", name=name, email="ann@example.com", segment=segment, address=ADDRESS
        )
        return str(payload["receipt"]["aggregateId"])

    async def product(self, stock: int = 0, price: str = "10.00", name: str = "Green tea") -> str:
        """The sku of a new product."""
        sku = new_sku()
        await self.staff.done(
            "addProduct", sku=sku, name=name, brand="Leaf", price=money(price), taxRate="0.2"
        )
        if stock:
            await self.staff.done("receiveStock", sku=sku, quantity=stock, source="supplier")
        return sku

    async def order(self, customer_id: str, *skus: str, quantity: int = 1, **more: Any) -> Any:
        """The receipt of a new order with a line for each sku."""
        lines = [{"sku": sku, "quantity": quantity} for sku in skus]
        order = {"customerId": customer_id, "lines": lines, "imported": True, **more}
        payload = await self.staff.done("placeOrder", **order)
        return payload["receipt"]
