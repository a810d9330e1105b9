"""Labels, printed from the desk's own copy and from nothing else.

1. A label is for the lines that are still here, or, when all have left, for all of them again.
2. A product whose name has not come yet is called by its stock keeping unit.
3. Without a person there is no label: they may have been erased.
"""

from collections.abc import Mapping

from api.shipping_desk.copies import Customer, Product
from api.shipping_desk.shipments import DeskRefusal, Shipment
from domain.decider import message
from domain.published_messages import PostalAddress


@message
class LabelLine:
    number: int
    quantity: int
    sku: str
    name: str


@message
class Label:
    """`position` is that of the customer's last change which the copy knows."""

    shipment_id: str
    order_id: str
    recipient: str
    address: PostalAddress
    lines: tuple[LabelLine, ...]
    position: int

    @property
    def text(self) -> str:
        """For a printer of plain text."""
        return "\n".join(
            (
                self.recipient,
                *_address(self.address),
                "",
                f"Shipment {self.shipment_id}",
                f"Order    {self.order_id}",
                "",
                *(f"{line.quantity:>5} x {line.name} ({line.sku})" for line in self.lines),
            )
        )


def _address(address: PostalAddress) -> list[str]:
    town = f"{address.postcode} {address.city}".strip()
    return [part for part in (address.street, town, address.region, address.country) if part]


def label(shipment: Shipment, customer: Customer | None, products: Mapping[str, Product]) -> Label:
    """Raises `DeskRefusal`."""
    if shipment.called_off:
        raise DeskRefusal("CALLED_OFF", f"The order of {shipment.id} is cancelled.")
    if customer is None or customer.address is None:
        raise DeskRefusal("RECIPIENT_UNKNOWN", f"Nobody is known whom {shipment.id} is for.")
    wanted = shipment.unsent or shipment.numbers
    return Label(
        shipment_id=shipment.id,
        order_id=shipment.order_id,
        recipient=customer.name,
        address=shipment.deliver_to or customer.address,
        lines=tuple(
            LabelLine(
                number=line.number,
                quantity=line.quantity,
                sku=line.sku,
                name=products[line.sku].name if line.sku in products else line.sku,
            )
            for line in shipment.lines
            if line.number in wanted
        ),
        position=customer.position,
    )
