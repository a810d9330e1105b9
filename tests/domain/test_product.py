"""The rules of a product."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.money import AmountOutOfRange, Money, RateOutOfRange, TextInvalid, UnknownCurrency
from domain.product import (
    PRODUCT,
    AddProduct,
    Command,
    DiscontinueProduct,
    PriceCurrencyDiffers,
    ProductAdded,
    ProductAlreadyAdded,
    ProductDiscontinued,
    ProductIsDiscontinued,
    ProductPriced,
    ProductRenamed,
    ProductUnknown,
    RenameProduct,
    RepriceProduct,
)
from tests.scenario import given

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 9, tzinfo=UTC)
PRICE = Money(amount=1_999, currency="EUR")
DEARER = Money(amount=2_499, currency="EUR")

ADD = AddProduct(sku="A", name="Kettle", brand="Brew", price=PRICE, tax=1_900, at=AT)
ADDED = ProductAdded(sku="A", name="Kettle", brand="Brew", tax=1_900, at=AT)
PRICED = ProductPriced(sku="A", price=PRICE, was=None, at=AT)
REPRICE = RepriceProduct(sku="A", price=DEARER, at=AT)
REPRICED = ProductPriced(sku="A", price=DEARER, was=PRICE, at=AT)
RENAME = RenameProduct(sku="A", name="Big kettle", at=AT)
RENAMED = ProductRenamed(sku="A", name="Big kettle", was="Kettle", at=AT)
DISCONTINUE = DiscontinueProduct(sku="A", reason="no longer made", at=AT)
DISCONTINUED = ProductDiscontinued(sku="A", reason="no longer made", at=AT)


def test_a_product_can_be_added_with_its_price() -> None:
    given(PRODUCT).when(ADD).then(ADDED, PRICED)


def test_a_product_needs_no_brand_and_no_tax_and_may_be_free() -> None:
    free = Money(amount=0, currency="EUR")
    given(PRODUCT).when(AddProduct(sku="B", name="Leaflet", price=free, at=AT)).then(
        ProductAdded(sku="B", name="Leaflet", brand="", tax=0, at=AT),
        ProductPriced(sku="B", price=free, was=None, at=AT),
    )


def test_adding_again_with_the_same_facts_changes_nothing() -> None:
    given(PRODUCT, ADDED, PRICED).when(replace(ADD, at=LATER)).then_nothing()


def test_adding_again_does_not_bring_a_discontinued_product_back() -> None:
    given(PRODUCT, ADDED, PRICED, DISCONTINUED).when(ADD).then_nothing()


@pytest.mark.parametrize(
    "other",
    [
        replace(ADD, name="Pot"),
        replace(ADD, brand=""),
        replace(ADD, price=DEARER),
        replace(ADD, tax=0),
    ],
)
def test_adding_again_with_other_facts_is_refused(other: AddProduct) -> None:
    given(PRODUCT, ADDED, PRICED).when(other).then_refused(ProductAlreadyAdded(sku="A"))


def test_all_that_is_wrong_with_a_new_product_is_told_at_once() -> None:
    bad = AddProduct(
        sku="x" * 65,
        name="",
        brand="\x00",
        price=Money(amount=-1, currency="EUR"),
        tax=10_001,
        at=AT,
    )
    given(PRODUCT).when(bad).then_refused(
        TextInvalid(most=64, path=("sku",)),
        TextInvalid(most=200, path=("name",)),
        TextInvalid(most=200, path=("brand",)),
        AmountOutOfRange(amount=-1, currency="EUR", path=("price",)),
        RateOutOfRange(basis_points=10_001, path=("taxRate",)),
    )


def test_a_product_cannot_be_priced_in_a_currency_that_is_not_accepted() -> None:
    shells = Money(amount=1, currency="XXX")
    given(PRODUCT).when(replace(ADD, price=shells)).then_refused(UnknownCurrency)


@pytest.mark.parametrize("command", [REPRICE, RENAME, DISCONTINUE])
def test_only_a_product_of_the_catalogue_can_be_changed(command: Command) -> None:
    given(PRODUCT).when(command).then_refused(ProductUnknown(sku="A"))


def test_a_product_can_be_repriced_and_the_old_price_is_kept() -> None:
    given(PRODUCT, ADDED, PRICED).when(REPRICE).then(REPRICED)


def test_the_same_price_is_not_news() -> None:
    given(PRODUCT, ADDED, PRICED, REPRICED).when(REPRICE).then_nothing()


def test_a_price_keeps_its_currency() -> None:
    dollars = replace(REPRICE, price=Money(amount=2_499, currency="USD"))
    given(PRODUCT, ADDED, PRICED).when(dollars).then_refused(
        PriceCurrencyDiffers(sku="A", currency="EUR")
    )


def test_a_new_price_must_be_in_range() -> None:
    owed = replace(REPRICE, price=Money(amount=-1, currency="EUR"))
    given(PRODUCT, ADDED, PRICED).when(owed).then_refused(
        AmountOutOfRange(amount=-1, currency="EUR", path=("price",))
    )


def test_a_product_can_be_renamed_and_the_old_name_is_kept() -> None:
    given(PRODUCT, ADDED, PRICED).when(RENAME).then(RENAMED)


def test_the_same_name_is_not_news() -> None:
    given(PRODUCT, ADDED, PRICED, RENAMED).when(RENAME).then_nothing()


def test_a_product_keeps_having_a_name() -> None:
    given(PRODUCT, ADDED, PRICED).when(replace(RENAME, name=" ")).then_refused(TextInvalid)


def test_a_product_can_be_discontinued_for_a_reason() -> None:
    given(PRODUCT, ADDED, PRICED).when(DISCONTINUE).then(DISCONTINUED)
    given(PRODUCT, ADDED, PRICED).when(replace(DISCONTINUE, reason="")).then_refused(TextInvalid)


def test_discontinuing_twice_is_not_news() -> None:
    given(PRODUCT, ADDED, PRICED, DISCONTINUED).when(DISCONTINUE).then_nothing()


@pytest.mark.parametrize("command", [REPRICE, RENAME])
def test_a_discontinued_product_cannot_be_changed(command: Command) -> None:
    given(PRODUCT, ADDED, PRICED, DISCONTINUED).when(command).then_refused(
        ProductIsDiscontinued(sku="A")
    )


def test_what_is_not_of_a_product_is_a_mistake_and_not_a_refusal() -> None:
    foreign: Any = object()
    with pytest.raises(AssertionError):
        PRODUCT.decide(foreign, PRODUCT.fold([ADDED, PRICED]))
    with pytest.raises(AssertionError):
        PRODUCT.evolve(PRODUCT.initial, foreign)
