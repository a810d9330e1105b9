"""What the desk asks of our API and reports to it, and what the answers mean. Pure.

1. A report's command id is derived from what it says, and it says when it happened: sent again it
   is the same command.
2. What is refused is refused for good, and kept for people to look at. Trouble with one call is a
   reason to try that one again, and trouble with all of them to wait.
3. An order is booked once our own shipment of it is there, so that a report never comes too early.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID, uuid5

from api.shipping_desk.copies import Customer
from api.shipping_desk.shipments import Line, Shipment
from domain.decider import message
from domain.published_messages import Link, PostalAddress
from infra.gateways import TryLater

_IDS: Final = UUID("0b0f1bd1-6a3b-4d92-9a55-5a0c6a3f6c5e")


class Kind(Enum):
    ASK = "ask"
    REPORT_SENT = "report_sent"
    REPORT_ARRIVED = "report_arrived"


@message
class Call:
    """A call that has not been answered yet. `called_off` is set where the order was cancelled
    before we could ask about it."""

    id: str
    kind: Kind
    order_id: str
    since: datetime
    link: Link | None = None
    shipment_id: str = ""
    lines: tuple[int, ...] = ()
    not_before: datetime | None = None
    tries: int = 0
    error: str = ""
    refused: bool = False
    called_off: bool = False


class CallRefused(Exception):
    """It was understood, and will not be done."""


class Away(Exception):
    """Our API cannot be asked at the moment, whatever it is."""


def question(order_id: str, link: Link, since: datetime) -> Call:
    """To be asked about an order."""
    return Call(id=f"ask/{order_id}", kind=Kind.ASK, order_id=order_id, since=since, link=link)


def report(kind: Kind, shipment: Shipment, lines: Sequence[int], at: datetime) -> Call:
    """To be told of lines that have been sent, or have arrived."""
    what = f"{kind.value}/{shipment.id}/{','.join(map(str, lines))}"
    return Call(
        id=str(uuid5(_IDS, what)),
        kind=kind,
        order_id=shipment.order_id,
        since=at,
        shipment_id=shipment.id,
        lines=tuple(lines),
    )


_REPORT: Final = """mutation Report($input: {kind}Input!) {{
  {field}(input: $input) {{ errors {{ code message }} receipt {{ position }} }} }}"""

_MUTATIONS: Final = {Kind.REPORT_SENT: "sendShipment", Kind.REPORT_ARRIVED: "recordArrival"}


def asking(link: Link) -> dict[str, Any]:
    """The body of a request by a link."""
    return {"query": link.operation, "variables": asdict(link.variables)}


def operation(call: Call) -> dict[str, Any]:
    """The body of the request."""
    if call.kind is Kind.ASK:
        assert call.link is not None, "a question comes with its link"
        return asking(call.link)
    field = _MUTATIONS[call.kind]
    document = _REPORT.format(kind=field[0].upper() + field[1:], field=field)
    sent = {
        "commandId": call.id,
        "shipmentId": call.shipment_id,
        "lines": list(call.lines),
        "at": call.since.isoformat(),
    }
    return {"query": document, "variables": {"input": sent}}


_HOPELESS: Final = {"SYNTAX_ERROR", "VALIDATION_FAILED", "LIMIT_EXCEEDED", "BAD_REQUEST"}
_OF_ONE: Final = {"READ_MODEL_BEHIND", "TIMEOUT", "INTERNAL"}


def data_of(answer: Any) -> Mapping[str, Any]:
    """What was answered; raises `CallRefused`, `TryLater` for this call, or `Away` for all."""
    if not isinstance(answer, dict):
        raise Away("the answer is no object")
    if errors := answer.get("errors"):
        text, code = errors[0]["message"], errors[0].get("extensions", {}).get("code")
        if code in _HOPELESS:
            raise CallRefused(f"{code}: {text}")
        raise (TryLater if code in _OF_ONE else Away)(f"{code}: {text}")
    data = answer.get("data")
    if not isinstance(data, dict):
        raise Away("the answer has no data")
    return data


def order_of(call: Call, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The order that was asked about; raises `TryLater`, while there is nothing to book."""
    order: Mapping[str, Any] | None = data["order"]
    if order is None or order["shipment"] is None:
        raise TryLater(f"{call.order_id} has no shipment yet")
    return order


def check_report(call: Call, data: Mapping[str, Any]) -> None:
    """Raises `CallRefused`."""
    if errors := data[_MUTATIONS[call.kind]]["errors"]:
        raise CallRefused("; ".join(f"{error['code']}: {error['message']}" for error in errors))


def booked(call: Call, order: Mapping[str, Any], customer: Customer, at: datetime) -> Shipment:
    """The shipment of an order as we are told of it, for a customer as the copy knows them."""
    told = _address(order["deliverTo"])
    return Shipment(
        id=order["shipment"]["id"],
        order_id=call.order_id,
        customer_id=order["customerId"],
        lines=tuple(
            Line(number=line["number"], sku=line["sku"], quantity=line["quantity"])
            for line in order["lines"]
        ),
        deliver_to=None if customer.address in (None, told) else told,
        booked_at=at,
        sent=_at(order, _SENT),
        arrived=_at(order, _ARRIVED),
        called_off=call.called_off or order["shipment"]["status"] == "CALLED_OFF",
    )


_ARRIVED: Final = ("DELIVERED", "RETURNED")
_SENT: Final = ("DISPATCHED", *_ARRIVED)


def _at(order: Mapping[str, Any], progress: Sequence[str]) -> tuple[int, ...]:
    """The lines that have come so far without the desk, when it is new or was away for long."""
    return tuple(line["number"] for line in order["lines"] if line["progress"] in progress)


def _address(told: Mapping[str, str]) -> PostalAddress:
    return PostalAddress(
        street=told["street"],
        city=told["city"],
        postcode=told["postalCode"],
        country=told["country"],
        region=told["region"],
    )
