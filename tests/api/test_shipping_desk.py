"""What the shipping desk makes of messages and answers, on a real database."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import orjson
import pytest

from api.shipping_desk.calling import Caller
from api.shipping_desk.calls import Away, Call, Kind, operation, report
from api.shipping_desk.copies import Ask, CallOff, Customer, Heard, Place, Product, Unread, heard
from api.shipping_desk.freshness import by_topic
from api.shipping_desk.labels import label
from api.shipping_desk.shipments import DeskRefusal, Line, Shipment, Status, arrive, send
from api.shipping_desk.store import CALLS, CUSTOMERS, UNREADABLE, Store
from domain.published_messages import (
    CUSTOMER_STATE,
    ORDER_CONFIRMED,
    CustomerState,
    CustomerStatus,
    Link,
    Message,
    MessageType,
    Notice,
    PostalAddress,
    Variables,
)
from domain.recorded import Meta, Recorded
from infra.cloud_events import encoded
from infra.http_gateway import HttpGateway, Patience
from infra.mongo import open_mongo

AT: Final = datetime(2026, 3, 1, tzinfo=UTC)
HOME: Final = PostalAddress(
    street="Mint Lane 1", city="Hull", postcode="HU1", region="", country="United Kingdom"
)
GIFT: Final = PostalAddress(
    street="Gift Road 7", city="York", postcode="", region="North", country="United Kingdom"
)
LINK: Final = Link(operation="query", variables=Variables(id="order-1", position="0:7"))
ANN: Final = Customer(id="customer-1", position=3, version=1, name="Ann", address=HOME)
SHIPMENT: Final = Shipment(
    id="shipment-1",
    order_id="order-1",
    customer_id="customer-1",
    lines=(Line(number=1, sku="TEA", quantity=2), Line(number=2, sku="POT", quantity=1)),
    deliver_to=None,
    booked_at=AT,
)
ORDER: Final = {
    "id": "order-1",
    "customerId": "customer-1",
    "deliverTo": {
        "street": "Mint Lane 1",
        "city": "Hull",
        "postalCode": "HU1",
        "region": "",
        "country": "United Kingdom",
    },
    "lines": [
        {"number": 1, "sku": "TEA", "quantity": 2, "progress": "ORDERED"},
        {"number": 2, "sku": "POT", "quantity": 1, "progress": "DELIVERED"},
    ],
    "shipment": {"id": "shipment-1", "status": "BOOKED"},
}


# -- shipments and labels


def test_lines_are_sent_once_and_arrive_after_that() -> None:
    with pytest.raises(DeskRefusal, match="still here"):
        arrive(SHIPMENT, [1])
    partly, new = send(SHIPMENT, [2, 2])
    assert (partly.status, new) == (Status.PARTLY_SENT, (2,))
    assert send(partly, [2]) == (partly, ())
    sent, new = send(partly, [])
    assert (sent.status, new) == (Status.SENT, (1,))
    arrived, _ = arrive(sent, [])
    assert arrived.status is Status.ARRIVED
    with pytest.raises(DeskRefusal, match="no line 3"):
        send(SHIPMENT, [3])


def test_a_label_is_for_what_is_still_here_and_names_what_is_known() -> None:
    products = {"POT": Product(id="product-POT", position=4, sku="POT", name="Tea pot")}
    whole = label(SHIPMENT, ANN, products)
    assert [line.name for line in whole.lines] == ["TEA", "Tea pot"]
    assert whole.text.splitlines()[:4] == ["Ann", "Mint Lane 1", "HU1 Hull", "United Kingdom"]
    partly, _ = send(SHIPMENT, [1])
    assert [line.number for line in label(partly, ANN, {}).lines] == [2]
    with pytest.raises(DeskRefusal, match="Nobody is known"):
        label(SHIPMENT, Customer(id="customer-1", position=9), {})


# -- messages


@dataclass(frozen=True)
class FromKafka:
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def record(kind: MessageType, subject: str, data: Any, position: int = 1) -> FromKafka:
    meta = Meta(
        event_id="event",
        command_id="command",
        command="",
        correlation_id="command",
        causation_id="command",
        actor="test",
        recorded_at=AT,
    )
    told = Message(
        type=kind.name,
        version=kind.version,
        topic=kind.topic,
        key=subject,
        subject=subject,
        data=data,
    )
    recorded = Recorded(event=None, position=position, stream=subject, version=1, meta=meta)
    return FromKafka(*encoded(told, recorded, "/test"))


def place(offset: int = 0, topic: str = "tidings.customers") -> Place:
    return Place(topic=topic, partition=0, offset=offset)


def test_messages_mean_copies_and_questions() -> None:
    state = CustomerState(
        id="customer-1",
        version=4,
        name="Ann",
        email="ann@example.com",
        phone="",
        status=CustomerStatus.ACTIVE,
        address=HOME,
    )
    known = heard(record(CUSTOMER_STATE, "customer-1", state, 7), place())
    assert known.meaning == Customer(
        id="customer-1", position=7, version=4, name="Ann", address=HOME
    )
    erased = heard(record(CUSTOMER_STATE, "customer-1", None, 8), place())
    assert erased.meaning == Customer(id="customer-1", position=8)
    notice = Notice(id="order-1", at=AT, link=LINK)
    asked = heard(record(ORDER_CONFIRMED, "order-1", notice), place())
    assert asked.meaning == Ask(order_id="order-1", link=LINK)


def test_what_is_not_for_the_desk_is_passed_over_and_what_is_garbage_is_told() -> None:
    newer = MessageType(name="CustomerState", version=9, topic="", data=dict, tells="")
    assert heard(record(newer, "customer-1", {}), place()).meaning is None
    garbage = heard(FromKafka(b"key", b"{", [("ce_type", b"tidings.CustomerState.v1")]), place())
    assert isinstance(garbage.meaning, Unread)


# -- the store


@pytest.fixture
async def store(mongodb_uri: str, database_name: str) -> AsyncIterator[Store]:
    async with open_mongo(mongodb_uri, database_name) as mongo:
        opened = Store(mongo)
        await opened.prepare()
        yield opened


def about(meaning: Any, offset: int = 0, topic: str = "tidings.customers") -> Heard:
    position = getattr(meaning, "position", offset)
    return Heard(place=place(offset, topic), position=position, at=AT, meaning=meaning)


async def booked(store: Store, shipment: Shipment = SHIPMENT) -> None:
    await store.hear([about(ANN), about(Ask(order_id="order-1", link=LINK), 1, "notices")])
    (call,) = await store.unanswered(refused=False, limit=9)
    await store.book(call, lambda _: shipment)


async def test_older_messages_and_repeats_leave_a_copy_alone(store: Store) -> None:
    moved = Customer(id="customer-1", position=5, version=2, name="Ann", address=GIFT)
    await store.hear([about(ANN), about(moved, 1)])
    await store.hear([about(ANN), about(moved, 1), about(ANN, 2)])
    assert await store.customer("customer-1") == moved
    await store.hear([about(Customer(id="customer-1", position=6), 3)])
    await store.hear([about(moved, 1)])
    assert (await store.counts())[CUSTOMERS] == 0
    (reached,) = await store.reached()
    assert (reached.offset, by_topic([reached])[0].position) == (2, 5)


async def test_whoever_is_erased_is_taken_off_their_shipments(store: Store) -> None:
    await booked(store, Shipment(**{**fields_of(SHIPMENT), "deliver_to": GIFT}))
    await store.hear([about(Customer(id="customer-1", position=9), 4)])
    shipment = await store.shipment("shipment-1")
    assert shipment is not None
    assert shipment.deliver_to is None
    assert await store.customer("customer-1") == Customer(id="customer-1", position=9)


def fields_of(shipment: Shipment) -> dict[str, Any]:
    return {name: getattr(shipment, name) for name in shipment.__dataclass_fields__}


async def test_a_question_that_is_heard_twice_is_asked_once(store: Store) -> None:
    ask = about(Ask(order_id="order-1", link=LINK), 1, "notices")
    await store.hear([ask, ask])
    await store.hear([ask])
    assert (await store.counts())[CALLS] == 1


async def test_an_order_that_is_cancelled_before_the_answer_is_not_sent(store: Store) -> None:
    await store.hear([about(Ask(order_id="order-1", link=LINK), 1, "notices")])
    (read_before,) = await store.unanswered(refused=False, limit=9)
    await store.hear([about(CallOff(order_id="order-1"), 2, "notices")])
    called_off: list[bool] = []

    def shipment_of(call: Call) -> Shipment:
        called_off.append(call.called_off)
        return SHIPMENT

    await store.book(read_before, shipment_of)
    assert called_off[-1] is True


async def test_what_is_entered_is_reported_once_under_an_id_of_its_own(store: Store) -> None:
    await booked(store)
    for _ in range(2):
        await store.move(Kind.REPORT_SENT, "shipment-1", [1])
    await store.move(Kind.REPORT_SENT, "shipment-1", [])
    first, second = await store.unanswered(refused=False, limit=9)
    assert (first.lines, second.lines) == ((1,), (2,))
    sent = operation(first)["variables"]["input"]
    again = operation(report(Kind.REPORT_SENT, SHIPMENT, [1], first.since))["variables"]["input"]
    assert sent == again
    assert sent["commandId"] != operation(second)["variables"]["input"]["commandId"]


async def test_garbage_is_kept_and_does_not_stop_the_rest(store: Store) -> None:
    garbage = Heard(place=place(7), position=None, at=None, meaning=Unread(error="no JSON"))
    await store.hear([garbage, about(ANN, 8)])
    assert (await store.counts())[UNREADABLE] == 1
    assert await store.customer("customer-1") == ANN


# -- calls


def caller(store: Store, answer: httpx.Response) -> Caller:
    """One whose calls are all answered so."""
    client = httpx.AsyncClient(
        base_url="http://api", transport=httpx.MockTransport(lambda _: answer)
    )
    return Caller(store, HttpGateway("our API", client, Patience(attempts=1)))


def answered(data: Any, **more: Any) -> httpx.Response:
    return httpx.Response(200, content=orjson.dumps({"data": data, **more}))


async def test_an_answer_books_the_shipment_once_its_customer_is_known(store: Store) -> None:
    await store.hear([about(Ask(order_id="order-1", link=LINK), 1, "notices")])
    asking = caller(store, answered({"order": ORDER}))
    await asking.make_due()
    (waiting,) = await store.unanswered(refused=False, limit=9)
    assert waiting.error == "customer-1 is not in the copy yet"
    await store.hear([about(ANN)])
    await store.put_off(waiting, "", AT)
    await asking.make_due()
    shipment = await store.shipment("shipment-1")
    assert shipment is not None
    assert (shipment.lines, shipment.deliver_to) == (SHIPMENT.lines, None)
    assert (shipment.sent, shipment.arrived) == ((2,), (2,))  # before there was a desk
    assert await store.unanswered(refused=False, limit=9) == []


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401, json={"errors": [{"message": "The token is not accepted."}]}),
        httpx.Response(503, json={}),
        answered(None, errors=[{"message": "Something went wrong on our side."}]),
    ],
    ids=["token", "away", "trouble"],
)
async def test_while_we_cannot_be_asked_everything_waits(
    store: Store, answer: httpx.Response
) -> None:
    await booked(store)
    await store.move(Kind.REPORT_SENT, "shipment-1", [])
    with pytest.raises(Away):
        await caller(store, answer).make_due()
    assert len(await store.unanswered(refused=False, limit=9)) == 1


async def test_a_report_that_is_refused_is_kept_for_people(store: Store) -> None:
    await booked(store)
    await store.move(Kind.REPORT_SENT, "shipment-1", [])
    refusal = {"code": "SHIPMENT_IS_CALLED_OFF", "message": "It is called off."}
    await caller(store, answered({"sendShipment": {"errors": [refusal]}})).make_due()
    assert await store.unanswered(refused=False, limit=9) == []
    (refused,) = await store.unanswered(refused=True, limit=9)
    assert refused.error == "SHIPMENT_IS_CALLED_OFF: It is called off."


async def test_what_nobody_can_answer_does_not_hold_up_the_rest(store: Store) -> None:
    hopeless = {"message": "Cannot query that.", "extensions": {"code": "VALIDATION_FAILED"}}
    await store.hear([about(Ask(order_id="order-1", link=LINK), 1, "notices")])
    await caller(store, answered(None, errors=[hopeless])).make_due()
    (refused,) = await store.unanswered(refused=True, limit=9)
    assert refused.error == "VALIDATION_FAILED: Cannot query that."


async def test_a_report_waits_for_those_before_it(store: Store) -> None:
    await booked(store)
    await store.move(Kind.REPORT_SENT, "shipment-1", [])
    await store.move(Kind.REPORT_ARRIVED, "shipment-1", [])
    behind = {"message": "Not readable yet.", "extensions": {"code": "INTERNAL"}}
    await caller(store, answered(None, errors=[behind])).make_due()
    sent, arrived = await store.unanswered(refused=False, limit=9)
    assert (sent.kind, sent.tries) == (Kind.REPORT_SENT, 1)
    assert (arrived.kind, arrived.tries) == (Kind.REPORT_ARRIVED, 0)
