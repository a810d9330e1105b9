"""Which fields of stored events are personal data: what is left out where a log leaves the house.

Names are those of stored events, those of old shapes included; fields are dotted paths. Ids are
opaque and stay, as do country and region. Words in which somebody gave a reason may tell anything.
"""

from collections.abc import Mapping
from typing import Final


def _address(field: str) -> tuple[str, ...]:
    return tuple(f"{field}.{part}" for part in ("street", "city", "postal_code"))


PERSONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "CustomerRegistered": ("name", "email", "phone", *_address("address")),
    "CustomerAddressChanged": _address("address"),
    "CustomerContactChanged": ("email", "phone"),
    "CustomerSuspended": ("reason",),
    "OrderPlaced": (*_address("deliver_to"), "card"),
    "OrderCancelled": ("reason",),
    "OrderLinesReturned": ("reason",),
    "AuthorisationRequested": ("card",),
    "ShipmentBooked": _address("deliver_to"),
}
