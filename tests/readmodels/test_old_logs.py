"""What holds for every read model over logs of older releases: whatever could happen, stored in the
shapes of before, is read as the same events, and folded to the same documents in any batches."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.evolutions import UPCASTERS
from domain.order import OrderPlaced
from domain.product import ProductPriced
from domain.recorded import Recorded
from domain.registry import AGGREGATES
from domain.stock_item import StockDispatched
from infra.codec import EventCodec, schema_of, to_stored
from readmodels.product_catalogue import PRODUCT_CATALOGUE
from readmodels.projection import Projection
from tests.readmodels.given import NOON
from tests.readmodels.histories import HISTORIES, batches
from tests.readmodels.test_readmodel_laws import (
    EXAMPLES,
    History,
    documents,
    each_read_model,
    projected,
)

CODEC = EventCodec((event for decider in AGGREGATES for event in decider.events), UPCASTERS)


def stored_before(events: list[Recorded]) -> list[dict[str, Any]]:
    """The log that the first release would have written."""
    stored: list[dict[str, Any]] = []
    versions: dict[str, int] = {}
    for recorded in events:
        event, stream = recorded.event, recorded.stream
        if isinstance(event, ProductPriced) and event.was is None:  # it was part of the one before
            assert stored[-1]["type"] == "ProductAdded"
            stored[-1]["data"]["price"] = to_stored(event.price)
            continue
        versions[stream] = versions.get(stream, 0) + 1
        document = {
            "_id": len(stored) + 1,
            "stream": stream,
            "version": versions[stream],
            "meta": to_stored(recorded.meta),
        }
        stored.append({**document, **_shape_before(event)})
    return stored


def _shape_before(event: Any) -> dict[str, Any]:
    name, schema, data = type(event).__name__, schema_of(type(event)), to_stored(event)
    match event:
        case OrderPlaced(imported=True):
            del data["card"], data["imported"]
            schema = 1
        case StockDispatched():
            name = "StockDespatched"
        case ProductPriced():
            name = "ProductRepriced"
        case _:
            schema = 1 if name == "ProductAdded" else schema
    return {"type": name, "schema": schema, "data": data}


def read(stored: list[dict[str, Any]]) -> list[Recorded]:
    return [recorded for document in stored for recorded in CODEC.recorded(document)]


def without_card(event: Any) -> Any:
    old = isinstance(event, OrderPlaced) and event.imported
    return replace(event, card="") if old else event


@EXAMPLES
@given(history=HISTORIES)
def test_an_old_log_tells_the_same_events(history: History) -> None:
    events, _ = history
    expected = [without_card(recorded.event) for recorded in events]
    assert [recorded.event for recorded in read(stored_before(events))] == expected


@each_read_model
@EXAMPLES
@given(history=HISTORIES, data=st.data())
def test_any_batches_of_an_old_log_give_the_same_documents(
    projection: Projection[Any], history: History, data: st.DataObject
) -> None:
    stored = stored_before(history[0])
    cut = [read(batch) for batch in data.draw(batches(stored))]
    folded = documents(projection, read(stored))
    assert projected(projection, cut) == {key: to_stored(view) for key, view in folded.items()}


def test_every_evolution_is_part_of_such_logs() -> None:
    """A new upcaster wants a line in `_shape_before`."""
    assert {str(upcaster.old) for upcaster in UPCASTERS} == {
        "OrderPlaced/1",
        "ProductAdded/1",
        "ProductRepriced/1",
        "StockDespatched/1",
    }


def test_a_split_product_is_one_event_of_its_stream() -> None:
    price = {"amount": 500, "currency": "EUR"}
    meta = {
        "event_id": "c:0",
        "command_id": "c",
        "command": "AddProduct",
        "correlation_id": "c",
        "causation_id": "c",
        "actor": "staff-1",
        "recorded_at": NOON,
    }
    data = {"sku": "tea", "name": "Tea", "brand": "", "price": price, "tax": 700, "at": NOON}
    document = {"_id": 4, "stream": "product-tea", "version": 1, "type": "ProductAdded"}
    added, priced = CODEC.recorded({**document, "schema": 1, "data": data, "meta": meta})
    product = PRODUCT_CATALOGUE.fold("tea", [added, priced])
    assert product is not None
    assert (product.listed, product.price, product.version) == (True, priced.event.price, 1)
