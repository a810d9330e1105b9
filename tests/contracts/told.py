"""Everything that is told, made of samples of all events: their own, and what is published."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from domain.address import Address
from domain.customer import CUSTOMER, Customer, Standing
from domain.money import Money
from domain.product import PRODUCT, Product, ProductPriced
from domain.published import published
from domain.published_messages import Message
from domain.recorded import Meta, Recorded
from domain.registry import AGGREGATES
from domain.upcasting import Shape
from infra.cloud_events import Encoded, encoded, encoded_event
from infra.codec import EventCodec, schema_of, to_stored
from tests.contracts.event_gate import goldens

SOURCE: Final = "/tidings"
AT: Final = datetime(2026, 3, 1, 9, 30, 15, 123_000, UTC)
TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"

EVENTS: Final = [(decider, kind) for decider in AGGREGATES for kind in decider.events]
CODEC: Final = EventCodec([kind for _, kind in EVENTS])
STORED: Final = goldens(Path(__file__).with_name("events"))

FULL: Final[dict[str, Any]] = {
    CUSTOMER.category: Customer(
        standing=Standing.ACTIVE,
        name="Zoë 北京",
        email="zoe@example.org",
        phone="+44 1",
        address=Address(street="1 High St", city="Leeds", postal_code="LS1", country="UK"),
    ),
    PRODUCT.category: Product(
        name="Tea", brand="Finest", price=Money(amount=1_200, currency="EUR"), tax=1_900
    ),
}


@dataclass(frozen=True)
class Told:
    """A message with the event that it tells of, as it goes to Kafka."""

    recorded: Recorded
    message: Message

    @property
    def record(self) -> Encoded:
        return encoded(self.message, self.recorded, SOURCE)


def events() -> Iterator[Recorded]:
    """One of each kind, and of prices the first one, too."""
    position = 0
    for decider, kind in EVENTS:
        shape = Shape(kind.__name__, schema_of(kind))
        (event,) = CODEC.decode(shape.type, shape.schema, STORED[shape].sample)
        first = [replace(event, was=None)] if kind is ProductPriced else []
        for each in (event, *first):
            position += 1
            meta = Meta(
                event_id=f"event-{position}",
                command_id="command-1",
                command="SomeCommand",
                correlation_id="command-1",
                causation_id=f"event-{position - 1}",
                actor="somebody",
                recorded_at=AT,
                trace=TRACE,
            )
            stream = f"{decider.category}-1"
            yield Recorded(event=each, position=position, stream=stream, version=7, meta=meta)


def told() -> list[Told]:
    """All types of messages, and tombstones of those that there are tombstones of."""
    found = []
    for recorded in events():
        category = recorded.stream.partition("-")[0]
        for state in (FULL.get(category), *([type(FULL[category])()] if category in FULL else [])):
            found += [Told(recorded, message) for message in published(recorded, state)]
    return found


def stored(recorded: Recorded) -> dict[str, Any]:
    """The event as the log has it."""
    return {
        "_id": recorded.position,
        "stream": recorded.stream,
        "version": recorded.version,
        "type": type(recorded.event).__name__,
        "schema": schema_of(type(recorded.event)),
        "data": to_stored(recorded.event),
        "meta": to_stored(recorded.meta),
    }


def log_records() -> list[Encoded]:
    """Every event as it goes to the topic of all events."""
    return [encoded_event(stored(each), each.meta, SOURCE) for each in events()]
