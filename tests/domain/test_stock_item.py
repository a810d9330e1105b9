"""The rules of the stock of a product."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.money import QuantityOutOfRange, TextInvalid
from domain.stock_item import (
    REORDER_LEVEL,
    STOCK_ITEM,
    AlreadyReserved,
    CountBelowReserved,
    CountStock,
    DespatchStock,
    InsufficientStock,
    ReceiveStock,
    ReleaseStock,
    ReorderLevelSet,
    ReserveStock,
    SetReorderLevel,
    StockCounted,
    StockDispatched,
    StockItem,
    StockReceived,
    StockReleased,
    StockReserved,
)
from tests.scenario import given

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
ONE, OTHER = "order-1", "order-2"


def reserve(quantity: int, order_id: str = ONE) -> ReserveStock:
    return ReserveStock(sku="A", order_id=order_id, quantity=quantity, at=AT)


def reserved(quantity: int, order_id: str = ONE) -> StockReserved:
    return StockReserved(sku="A", order_id=order_id, quantity=quantity, at=AT)


def despatch(quantity: int, order_id: str = ONE) -> DespatchStock:
    return DespatchStock(sku="A", order_id=order_id, quantity=quantity, at=AT)


def despatched(quantity: int, *, of_them_reserved: int) -> StockDispatched:
    return StockDispatched(
        sku="A", order_id=ONE, quantity=quantity, reserved=of_them_reserved, at=AT
    )


def count(counted: int) -> CountStock:
    return CountStock(sku="A", counted=counted, at=AT)


RECEIVE = ReceiveStock(sku="A", quantity=10, source="Brew Ltd", at=AT)
RECEIVED = StockReceived(sku="A", quantity=10, source="Brew Ltd", at=AT)
RELEASE = ReleaseStock(sku="A", order_id=ONE, at=AT)


def test_stock_is_received() -> None:
    given(STOCK_ITEM).when(RECEIVE).then(RECEIVED)


def test_every_delivery_counts() -> None:
    given(STOCK_ITEM, RECEIVED).when(RECEIVE).then(RECEIVED)
    assert STOCK_ITEM.fold([RECEIVED, RECEIVED]).on_hand == 20


@pytest.mark.parametrize("quantity", [0, -1, 1_000_001])
def test_a_delivery_has_one_to_a_million_pieces(quantity: int) -> None:
    given(STOCK_ITEM).when(replace(RECEIVE, quantity=quantity)).then_refused(QuantityOutOfRange)


def test_all_that_is_wrong_with_a_delivery_is_told_at_once() -> None:
    given(STOCK_ITEM).when(ReceiveStock(sku="", quantity=0, source="\n", at=AT)).then_refused(
        TextInvalid(most=64, path=("sku",)),
        QuantityOutOfRange(quantity=0, least=1, most=1_000_000, path=("quantity",)),
        TextInvalid(most=200, path=("source",)),
    )


def test_a_delivery_needs_no_source() -> None:
    given(STOCK_ITEM).when(replace(RECEIVE, source="")).then(replace(RECEIVED, source=""))


def test_what_is_free_can_be_reserved_to_the_last_piece() -> None:
    given(STOCK_ITEM, RECEIVED).when(reserve(10)).then(reserved(10))


def test_what_is_not_there_cannot_be_reserved() -> None:
    given(STOCK_ITEM, RECEIVED).when(reserve(11)).then_refused(
        InsufficientStock(sku="A", requested=11, available=10)
    )


def test_what_is_kept_for_one_order_cannot_be_reserved_for_another() -> None:
    given(STOCK_ITEM, RECEIVED, reserved(7)).when(reserve(4, OTHER)).then_refused(
        InsufficientStock(sku="A", requested=4, available=3)
    )


def test_reserving_the_same_again_changes_nothing() -> None:
    given(STOCK_ITEM, RECEIVED, reserved(7)).when(reserve(7)).then_nothing()


def test_reserving_another_quantity_for_the_same_order_is_refused() -> None:
    given(STOCK_ITEM, RECEIVED, reserved(7)).when(reserve(8)).then_refused(
        AlreadyReserved(sku="A", order_id=ONE, reserved=7)
    )


@pytest.mark.parametrize("quantity", [0, -5])
def test_at_least_one_piece_is_reserved_or_despatched(quantity: int) -> None:
    given(STOCK_ITEM, RECEIVED).when(reserve(quantity)).then_refused(QuantityOutOfRange)
    given(STOCK_ITEM, RECEIVED).when(despatch(quantity)).then_refused(QuantityOutOfRange)


def test_releasing_gives_back_all_that_is_kept_for_the_order() -> None:
    given(STOCK_ITEM, RECEIVED, reserved(7), reserved(2, OTHER)).when(RELEASE).then(
        StockReleased(sku="A", order_id=ONE, quantity=7, at=AT)
    )


def test_releasing_what_is_not_kept_is_not_news() -> None:
    given(STOCK_ITEM, RECEIVED, reserved(2, OTHER)).when(RELEASE).then_nothing()


def test_what_was_released_is_free_again() -> None:
    released = StockReleased(sku="A", order_id=ONE, quantity=7, at=AT)
    given(STOCK_ITEM, RECEIVED, reserved(7), released).when(reserve(10, OTHER)).then(
        reserved(10, OTHER)
    )


def test_despatching_takes_the_orders_own_reservation_first() -> None:
    given(STOCK_ITEM, RECEIVED, reserved(7)).when(despatch(5)).then(
        despatched(5, of_them_reserved=5)
    )


def test_despatching_then_takes_what_is_free() -> None:
    given(STOCK_ITEM, RECEIVED, reserved(7)).when(despatch(9)).then(
        despatched(9, of_them_reserved=7)
    )


def test_despatching_never_takes_what_is_kept_for_others() -> None:
    given(STOCK_ITEM, RECEIVED, reserved(7, OTHER), reserved(1)).when(despatch(4)).then_refused(
        InsufficientStock(sku="A", requested=4, available=3)
    )


def test_what_has_been_despatched_is_neither_there_nor_kept() -> None:
    item = STOCK_ITEM.fold([RECEIVED, reserved(7), despatched(5, of_them_reserved=5)])
    assert item == StockItem(on_hand=5, reserved=2, reservations={ONE: 2})
    item = STOCK_ITEM.fold([despatched(2, of_them_reserved=2)], item)
    assert item == StockItem(on_hand=3)


def test_a_despatch_without_a_reservation_leaves_reservations_alone() -> None:
    item = STOCK_ITEM.fold([RECEIVED, reserved(3, OTHER), despatched(5, of_them_reserved=0)])
    assert item == StockItem(on_hand=5, reserved=3, reservations={OTHER: 3})


def test_a_count_sets_what_is_on_hand() -> None:
    given(STOCK_ITEM, RECEIVED).when(count(8)).then(StockCounted(sku="A", counted=8, was=10, at=AT))
    assert STOCK_ITEM.fold([RECEIVED, StockCounted(sku="A", counted=8, was=10, at=AT)]).on_hand == 8


def test_a_count_that_confirms_is_not_news() -> None:
    given(STOCK_ITEM, RECEIVED).when(count(10)).then_nothing()


def test_a_count_can_take_all_that_is_free_but_nothing_reserved() -> None:
    given(STOCK_ITEM, RECEIVED, reserved(7)).when(count(7)).then(
        StockCounted(sku="A", counted=7, was=10, at=AT)
    )
    given(STOCK_ITEM, RECEIVED, reserved(7)).when(count(6)).then_refused(
        CountBelowReserved(sku="A", counted=6, reserved=7)
    )


def test_a_count_is_not_below_nothing() -> None:
    given(STOCK_ITEM, RECEIVED).when(count(0)).then(StockCounted(sku="A", counted=0, was=10, at=AT))
    given(STOCK_ITEM, RECEIVED).when(count(-1)).then_refused(QuantityOutOfRange)


def test_a_reorder_level_can_be_set() -> None:
    given(STOCK_ITEM).when(SetReorderLevel(sku="A", level=0, at=AT)).then(
        ReorderLevelSet(sku="A", level=0, at=AT)
    )
    assert STOCK_ITEM.fold([ReorderLevelSet(sku="A", level=3, at=AT)]).reorder_level == 3


def test_the_same_reorder_level_is_not_news() -> None:
    given(STOCK_ITEM).when(SetReorderLevel(sku="A", level=REORDER_LEVEL, at=AT)).then_nothing()


def test_a_reorder_level_is_not_below_nothing() -> None:
    given(STOCK_ITEM).when(SetReorderLevel(sku="A", level=-1, at=AT)).then_refused(
        QuantityOutOfRange
    )


def test_stock_begins_only_under_a_proper_name() -> None:
    nameless = TextInvalid(most=64, path=("sku",))
    given(STOCK_ITEM).when(CountStock(sku=" ", counted=5, at=AT)).then_refused(nameless)
    given(STOCK_ITEM).when(SetReorderLevel(sku="", level=5, at=AT)).then_refused(nameless)


def test_what_is_not_of_the_stock_is_a_mistake_and_not_a_refusal() -> None:
    foreign: Any = object()
    with pytest.raises(AssertionError):
        STOCK_ITEM.decide(foreign, STOCK_ITEM.fold([RECEIVED]))
    with pytest.raises(AssertionError):
        STOCK_ITEM.evolve(STOCK_ITEM.initial, foreign)
