"""The rules of decisions that need more than one aggregate."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from domain.address import Address
from domain.checkout import (
    DISPATCH_LINES,
    PLACE_ORDER,
    RELEASE_ORDER,
    RESERVE_ORDER,
    SEND_SHIPMENT,
    CustomerIsSuspended,
    DispatchLines,
    ReleaseOrder,
    ReserveOrder,
)
from domain.customer import CustomerRegistered, CustomerSuspended, CustomerUnknown
from domain.money import Money, QuantityOutOfRange
from domain.order import (
    OrderAlreadyPlaced,
    OrderCancelled,
    OrderConfirmed,
    OrderIsCancelled,
    OrderLinesDispatched,
    OrderNotConfirmed,
    OrderNotReserved,
    OrderPlaced,
    OrderReserved,
    OrderUnknown,
    PlaceOrder,
    Shortage,
)
from domain.order_line import (
    CurrenciesDiffer,
    Line,
    LineCountOutOfRange,
    LineUnknown,
    LineWanted,
)
from domain.product import (
    ProductAdded,
    ProductDiscontinued,
    ProductIsDiscontinued,
    ProductPriced,
    ProductUnknown,
)
from domain.shipment import SendShipment, ShipmentBooked, ShipmentSent, ShipmentUnknown
from domain.stock_item import (
    InsufficientStock,
    StockDispatched,
    StockReceived,
    StockReleased,
    StockReserved,
)
from tests.scenario import Past, given_streams

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
ORDER_ID, CUSTOMER_ID = "order-1", "customer-1"
HOME = Address(street="1 High St", city="Leeds", country="UK", region="North")
OFFICE = Address(street="2 Low Rd", city="York", country="UK")

REGISTERED = CustomerRegistered(
    customer_id=CUSTOMER_ID,
    name="Ada",
    email="ada@example.org",
    phone="",
    segment="trade",
    address=HOME,
    at=AT,
)
SUSPENDED = CustomerSuspended(customer_id=CUSTOMER_ID, reason="unpaid bills", at=AT)
TEN = Money(amount=1_000, currency="EUR")
FIVE = Money(amount=500, currency="EUR")
KETTLE = (
    ProductAdded(sku="A", name="Kettle", brand="Brew", tax=1_900, at=AT),
    ProductPriced(sku="A", price=TEN, was=None, at=AT),
)
TEA = (
    ProductAdded(sku="B", name="Tea", brand="Brew", tax=700, at=AT),
    ProductPriced(sku="B", price=FIVE, was=None, at=AT),
)
CATALOGUE: Past = {"product-A": KETTLE, "product-B": TEA}
SHOP: Past = {CUSTOMER_ID: [REGISTERED], **CATALOGUE}

PLACE = PlaceOrder(
    order_id=ORDER_ID,
    customer_id=CUSTOMER_ID,
    lines=(LineWanted(sku="A", quantity=2), LineWanted(sku="B", quantity=1)),
    at=AT,
)
LINES = (
    Line(number=1, sku="A", name="Kettle", quantity=2, unit_price=1_000, discount=0, tax=1_900),
    Line(number=2, sku="B", name="Tea", quantity=1, unit_price=500, discount=0, tax=700),
)
PLACED = OrderPlaced(
    order_id=ORDER_ID,
    customer_id=CUSTOMER_ID,
    currency="EUR",
    lines=LINES,
    net=2_500,
    tax=415,
    total=2_915,
    deliver_to=HOME,
    region="North",
    segment="trade",
    at=AT,
)
CANCELLED = OrderCancelled(
    order_id=ORDER_ID,
    customer_id=CUSTOMER_ID,
    currency="EUR",
    lines=LINES,
    placed_on=AT.date(),
    region="North",
    reason="ordered twice",
    at=AT,
)
RESERVED = OrderReserved(order_id=ORDER_ID, customer_id=CUSTOMER_ID, at=AT)
CONFIRMED = OrderConfirmed(order_id=ORDER_ID, customer_id=CUSTOMER_ID, at=AT)
READY = [PLACED, RESERVED, CONFIRMED]
"""Its lines may leave the house."""

RESERVE = ReserveOrder(order_id=ORDER_ID, at=AT)
RELEASE = ReleaseOrder(order_id=ORDER_ID, at=AT)

SHIPMENT_ID = "shipment-1"
BOOKED = ShipmentBooked(
    shipment_id=SHIPMENT_ID, order_id=ORDER_ID, lines=(1, 2), deliver_to=HOME, at=AT
)
SEND = SendShipment(shipment_id=SHIPMENT_ID, lines=(1,), at=AT)


def sent(*lines: int) -> ShipmentSent:
    return ShipmentSent(shipment_id=SHIPMENT_ID, order_id=ORDER_ID, lines=lines, at=AT)


def not_reserved(*shortages: Shortage) -> OrderNotReserved:
    return OrderNotReserved(order_id=ORDER_ID, customer_id=CUSTOMER_ID, shortages=shortages, at=AT)


def released(sku: str, quantity: int) -> StockReleased:
    return StockReleased(sku=sku, order_id=ORDER_ID, quantity=quantity, at=AT)


def received(sku: str, quantity: int) -> StockReceived:
    return StockReceived(sku=sku, quantity=quantity, source="", at=AT)


def reserved(sku: str, quantity: int, order_id: str = ORDER_ID) -> StockReserved:
    return StockReserved(sku=sku, order_id=order_id, quantity=quantity, at=AT)


def despatched(sku: str, quantity: int, *, of_them_reserved: int) -> StockDispatched:
    return StockDispatched(
        sku=sku, order_id=ORDER_ID, quantity=quantity, reserved=of_them_reserved, at=AT
    )


def dispatch(*lines: int) -> DispatchLines:
    return DispatchLines(order_id=ORDER_ID, lines=lines, at=AT)


def dispatched(*lines: int, rest: int) -> OrderLinesDispatched:
    return OrderLinesDispatched(
        order_id=ORDER_ID, customer_id=CUSTOMER_ID, lines=lines, rest=rest, at=AT
    )


# -- placing


def test_what_is_left_open_comes_from_the_catalogue_and_the_customer() -> None:
    given_streams(PLACE_ORDER, SHOP).when(PLACE).then((ORDER_ID, PLACED))


def test_what_is_given_is_taken() -> None:
    given = replace(
        PLACE,
        lines=(
            LineWanted(
                sku="A",
                quantity=1,
                name="Kettle, engraved",
                unit_price=Money(amount=0, currency="EUR"),
                discount=500,
                tax=0,
            ),
        ),
        deliver_to=OFFICE,
        region="Centre",
        segment="staff",
    )
    line = Line(
        number=1, sku="A", name="Kettle, engraved", quantity=1, unit_price=0, discount=500, tax=0
    )
    given_streams(PLACE_ORDER, SHOP).when(given).then(
        (
            ORDER_ID,
            replace(
                PLACED,
                lines=(line,),
                net=0,
                tax=0,
                total=0,
                deliver_to=OFFICE,
                region="Centre",
                segment="staff",
            ),
        )
    )


def test_a_price_given_for_one_line_in_another_currency_does_not_mix_with_the_catalogue() -> None:
    dollars = replace(PLACE.lines[0], unit_price=Money(amount=1_100, currency="USD"))
    given_streams(PLACE_ORDER, SHOP).when(
        replace(PLACE, lines=(dollars, PLACE.lines[1]))
    ).then_refused(CurrenciesDiffer(currencies="EUR, USD"))


def test_an_order_is_in_the_currency_that_all_its_prices_are_given_in() -> None:
    dollars = replace(PLACE.lines[0], unit_price=Money(amount=1_000, currency="USD"))
    given_streams(PLACE_ORDER, SHOP).when(replace(PLACE, lines=(dollars,))).then(
        (
            ORDER_ID,
            replace(PLACED, currency="USD", lines=LINES[:1], net=2_000, tax=380, total=2_380),
        )
    )


def test_only_a_known_customer_can_order() -> None:
    given_streams(PLACE_ORDER, CATALOGUE).when(PLACE).then_refused(
        CustomerUnknown(customer_id=CUSTOMER_ID)
    )


def test_a_suspended_customer_cannot_order() -> None:
    shop: Past = {**SHOP, CUSTOMER_ID: [REGISTERED, SUSPENDED]}
    given_streams(PLACE_ORDER, shop).when(PLACE).then_refused(
        CustomerIsSuspended(customer_id=CUSTOMER_ID)
    )


def test_all_that_keeps_an_order_from_being_placed_is_told_at_once() -> None:
    gone = ProductDiscontinued(sku="B", reason="no longer made", at=AT)
    given_streams(PLACE_ORDER, {"product-B": [*TEA, gone]}).when(PLACE).then_refused(
        CustomerUnknown(customer_id=CUSTOMER_ID),
        ProductUnknown(sku="A", path=("lines", "0", "sku")),
        ProductIsDiscontinued(sku="B", path=("lines", "1", "sku")),
    )


def test_the_rules_of_the_order_itself_hold() -> None:
    given_streams(PLACE_ORDER, {**SHOP, ORDER_ID: [PLACED]}).when(PLACE).then_refused(
        OrderAlreadyPlaced
    )
    given_streams(PLACE_ORDER, SHOP).when(replace(PLACE, lines=())).then_refused(
        LineCountOutOfRange
    )
    nothing = replace(PLACE, lines=(LineWanted(sku="A", quantity=0),))
    given_streams(PLACE_ORDER, SHOP).when(nothing).then_refused(QuantityOutOfRange)


# -- reserving


def test_every_line_is_kept_in_stock() -> None:
    stock: Past = {"stock_item-A": [received("A", 2)], "stock_item-B": [received("B", 1)]}
    given_streams(RESERVE_ORDER, {ORDER_ID: [PLACED], **stock}).when(RESERVE).then(
        (ORDER_ID, RESERVED),
        ("stock_item-A", reserved("A", 2)),
        ("stock_item-B", reserved("B", 1)),
    )


def test_when_one_line_is_short_none_is_kept_and_all_that_are_short_are_told() -> None:
    stock: Past = {"stock_item-A": [received("A", 1)]}
    given_streams(RESERVE_ORDER, {ORDER_ID: [PLACED], **stock}).when(RESERVE).then(
        (
            ORDER_ID,
            not_reserved(
                Shortage(sku="A", requested=2, available=1),
                Shortage(sku="B", requested=1, available=0),
            ),
        )
    )


def test_that_the_same_is_short_as_before_is_not_news() -> None:
    short = [Shortage(sku=sku, requested=n, available=0) for sku, n in (("A", 2), ("B", 1))]
    past: Past = {ORDER_ID: [PLACED, not_reserved(*short)]}
    given_streams(RESERVE_ORDER, past).when(RESERVE).then_nothing()
    past = {**past, "stock_item-A": [received("A", 1)]}
    less = replace(short[0], available=1)
    given_streams(RESERVE_ORDER, past).when(RESERVE).then((ORDER_ID, not_reserved(less, short[1])))


def test_an_order_that_was_short_can_be_reserved_later() -> None:
    past: Past = {
        ORDER_ID: [PLACED, not_reserved()],
        "stock_item-A": [received("A", 2)],
        "stock_item-B": [received("B", 1)],
    }
    given_streams(RESERVE_ORDER, past).when(RESERVE).then(
        (ORDER_ID, RESERVED),
        ("stock_item-A", reserved("A", 2)),
        ("stock_item-B", reserved("B", 1)),
    )


def test_lines_of_the_same_product_are_kept_together() -> None:
    twice = replace(PLACED, lines=(LINES[0], replace(LINES[0], number=2, quantity=3)))
    given_streams(RESERVE_ORDER, {ORDER_ID: [twice], "stock_item-A": [received("A", 5)]}).when(
        RESERVE
    ).then((ORDER_ID, RESERVED), ("stock_item-A", reserved("A", 5)))


@pytest.mark.parametrize("then", [[], ["confirmed"], ["cancelled"]])
def test_reserving_an_order_twice_or_after_its_end_is_not_news(then: list[str]) -> None:
    rest = [{"confirmed": CONFIRMED, "cancelled": CANCELLED}[name] for name in then]
    past: Past = {ORDER_ID: [PLACED, RESERVED, *rest], "stock_item-A": [received("A", 9)]}
    given_streams(RESERVE_ORDER, past).when(RESERVE).then_nothing()


def test_another_quantity_kept_for_the_order_before_keeps_it_from_being_reserved() -> None:
    stock: Past = {
        "stock_item-A": [received("A", 9), reserved("A", 1)],
        "stock_item-B": [received("B", 9)],
    }
    given_streams(RESERVE_ORDER, {ORDER_ID: [PLACED], **stock}).when(RESERVE).then(
        (ORDER_ID, not_reserved())
    )


@pytest.mark.parametrize("quantity", [600_000, 1_000_000])
def test_more_pieces_than_can_be_counted_cannot_be_kept(quantity: int) -> None:
    many = replace(LINES[0], quantity=quantity, unit_price=1)
    twice = replace(PLACED, lines=(many, replace(many, number=2)))
    given_streams(RESERVE_ORDER, {ORDER_ID: [twice], "stock_item-A": [received("A", 5)]}).when(
        RESERVE
    ).then((ORDER_ID, not_reserved()))


# -- releasing


def test_all_that_is_kept_for_an_order_is_free_again() -> None:
    past: Past = {
        ORDER_ID: [PLACED, RESERVED, CANCELLED],
        "stock_item-A": [received("A", 9), reserved("A", 2), reserved("A", 1, "order-2")],
        "stock_item-B": [received("B", 9), reserved("B", 1)],
    }
    given_streams(RELEASE_ORDER, past).when(RELEASE).then(
        ("stock_item-A", released("A", 2)), ("stock_item-B", released("B", 1))
    )


def test_releasing_what_is_not_kept_is_not_news() -> None:
    past: Past = {ORDER_ID: [PLACED], "stock_item-A": [received("A", 9)]}
    given_streams(RELEASE_ORDER, past).when(RELEASE).then_nothing()
    given_streams(RELEASE_ORDER, {}).when(RELEASE).then_nothing()


# -- dispatching


def test_lines_leave_the_stock_and_the_order_knows_it() -> None:
    past: Past = {
        ORDER_ID: READY,
        "stock_item-A": [received("A", 9), reserved("A", 2)],
        "stock_item-B": [received("B", 9)],
    }
    given_streams(DISPATCH_LINES, past).when(dispatch(2, 1)).then(
        (ORDER_ID, dispatched(1, 2, rest=0)),
        ("stock_item-A", despatched("A", 2, of_them_reserved=2)),
        ("stock_item-B", despatched("B", 1, of_them_reserved=0)),
    )


def test_when_one_line_is_short_none_leaves() -> None:
    past: Past = {ORDER_ID: READY, "stock_item-A": [received("A", 9)]}
    given_streams(DISPATCH_LINES, past).when(dispatch(1, 2)).then_refused(
        InsufficientStock(sku="B", requested=1, available=0)
    )


def test_what_is_kept_for_another_order_stays() -> None:
    past: Past = {
        ORDER_ID: READY,
        "stock_item-A": [received("A", 3), reserved("A", 2, order_id="order-2")],
    }
    given_streams(DISPATCH_LINES, past).when(dispatch(1)).then_refused(
        InsufficientStock(sku="A", requested=2, available=1)
    )


def test_a_line_leaves_the_stock_once() -> None:
    past: Past = {
        ORDER_ID: [*READY, dispatched(1, rest=1)],
        "stock_item-A": [received("A", 9), despatched("A", 2, of_them_reserved=0)],
        "stock_item-B": [received("B", 9)],
    }
    given_streams(DISPATCH_LINES, past).when(dispatch(1)).then_nothing()
    given_streams(DISPATCH_LINES, past).when(dispatch(1, 2)).then(
        (ORDER_ID, dispatched(2, rest=0)),
        ("stock_item-B", despatched("B", 1, of_them_reserved=0)),
    )


def test_only_lines_of_the_order_leave_the_stock() -> None:
    given_streams(DISPATCH_LINES, {ORDER_ID: READY}).when(dispatch(3)).then_refused(
        LineUnknown(order_id=ORDER_ID, line=3)
    )


def test_nothing_leaves_the_stock_before_the_order_is_confirmed_unless_it_is_imported() -> None:
    stock: Past = {"stock_item-A": [received("A", 9)]}
    given_streams(DISPATCH_LINES, {ORDER_ID: [PLACED, RESERVED], **stock}).when(
        dispatch(1)
    ).then_refused(OrderNotConfirmed(order_id=ORDER_ID))
    history = replace(PLACED, imported=True)
    given_streams(DISPATCH_LINES, {ORDER_ID: [history], **stock}).when(dispatch(1)).then(
        (ORDER_ID, dispatched(1, rest=1)),
        ("stock_item-A", despatched("A", 2, of_them_reserved=0)),
    )


def test_an_order_that_is_unknown_or_cancelled_moves_no_stock() -> None:
    stopped: Past = {ORDER_ID: [PLACED, CANCELLED], "stock_item-A": [received("A", 9)]}
    given_streams(RESERVE_ORDER, {}).when(RESERVE).then_refused(OrderUnknown(order_id=ORDER_ID))
    given_streams(RESERVE_ORDER, stopped).when(RESERVE).then_nothing()
    given_streams(DISPATCH_LINES, {}).when(dispatch(1)).then_refused(OrderUnknown)
    given_streams(DISPATCH_LINES, stopped).when(dispatch(1)).then_refused(OrderIsCancelled)


# -- sending a shipment


def test_a_parcel_leaves_the_stock_and_the_order_and_the_shipment_know_it() -> None:
    past: Past = {
        SHIPMENT_ID: [BOOKED],
        ORDER_ID: READY,
        "stock_item-A": [received("A", 9), reserved("A", 2)],
        "stock_item-B": [received("B", 9)],
    }
    given_streams(SEND_SHIPMENT, past).when(SEND).then(
        (SHIPMENT_ID, sent(1)),
        (ORDER_ID, dispatched(1, rest=1)),
        ("stock_item-A", despatched("A", 2, of_them_reserved=2)),
    )
    given_streams(SEND_SHIPMENT, {**past, SHIPMENT_ID: [BOOKED, sent(1)]}).when(SEND).then_nothing()


def test_a_parcel_that_cannot_leave_the_stock_is_not_sent() -> None:
    past: Past = {SHIPMENT_ID: [BOOKED], ORDER_ID: READY}
    given_streams(SEND_SHIPMENT, past).when(SEND).then_refused(
        InsufficientStock(sku="A", requested=2, available=0)
    )
    given_streams(SEND_SHIPMENT, {}).when(SEND).then_refused(
        ShipmentUnknown(shipment_id=SHIPMENT_ID)
    )
