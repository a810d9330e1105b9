"""The rules of money and of the small values beside it."""

import pytest

from domain.address import Address, address_errors
from domain.decider import DomainError, DomainErrors, refuse_if_any
from domain.money import (
    MINOR_DIGITS,
    MOST_MINOR_UNITS,
    MOST_PIECES,
    AmountOutOfRange,
    Money,
    QuantityOutOfRange,
    RateOutOfRange,
    TextInvalid,
    UnknownCurrency,
    gross,
    net_exact,
    price_errors,
    quantity_errors,
    rate_errors,
    rounded,
    tax,
    text_errors,
)


def codes(errors: list[DomainError]) -> list[str]:
    return [error.code for error in errors]


@pytest.mark.parametrize(
    ("exact", "minor"),
    [(0, 0), (4_999, 0), (5_000, 1), (5_001, 1), (14_999, 1), (15_000, 2), (25_000, 3)],
)
def test_rounding_is_half_away_from_zero_on_both_sides(exact: int, minor: int) -> None:
    assert (rounded(exact), rounded(-exact)) == (minor, -minor)


def test_a_discount_is_taken_exactly() -> None:
    assert net_exact(unit_price=999, quantity=3, discount=333) == 999 * 3 * 9_667


def test_sums_are_rounded_once_after_summing() -> None:
    half_a_cent = (net_exact(unit_price=1, quantity=1, discount=5_000), 0)
    assert gross([half_a_cent]) == 1
    assert gross([half_a_cent, half_a_cent]) == 1


def test_nothing_comes_to_nothing() -> None:
    assert (gross([]), tax([])) == (0, 0)


def test_net_and_tax_are_what_is_charged() -> None:
    parts = [(net_exact(1_999, 1, 0), 1_900), (net_exact(333, 7, 250), 700)]
    assert gross(parts) == 4_811  # 19.99 at 19 % and 22.73 at 7 %, rounded once
    assert tax(parts) == 539
    assert gross(parts) - tax(parts) == rounded(sum(net for net, _ in parts))


@pytest.mark.parametrize("currency", sorted(MINOR_DIGITS))
@pytest.mark.parametrize("amount", [0, 1, MOST_MINOR_UNITS])
def test_a_price_is_accepted_from_nothing_to_the_most(amount: int, currency: str) -> None:
    assert price_errors(Money(amount=amount, currency=currency)) == []


@pytest.mark.parametrize("amount", [-1, MOST_MINOR_UNITS + 1])
def test_a_price_outside_of_that_is_refused(amount: int) -> None:
    assert price_errors(Money(amount=amount, currency="EUR"), "price") == [
        AmountOutOfRange(amount=amount, currency="EUR", path=("price",))
    ]


@pytest.mark.parametrize("currency", ["", "eur", "XXX", "EUR "])
def test_a_currency_must_be_known(currency: str) -> None:
    assert price_errors(Money(amount=1, currency=currency), "price") == [
        UnknownCurrency(currency=currency, path=("price",))
    ]


def test_a_rate_is_between_nothing_and_all() -> None:
    assert rate_errors(0) == rate_errors(10_000) == []
    assert rate_errors(-1, "tax") == [RateOutOfRange(basis_points=-1, path=("tax",))]
    assert rate_errors(10_001) == [RateOutOfRange(basis_points=10_001)]


def test_pieces_are_counted_from_one_to_a_million_unless_none_will_do() -> None:
    assert quantity_errors(1) == quantity_errors(MOST_PIECES) == quantity_errors(0, least=0) == []
    assert quantity_errors(0, "quantity") == [
        QuantityOutOfRange(quantity=0, least=1, most=MOST_PIECES, path=("quantity",))
    ]
    assert codes(quantity_errors(-1, least=0)) == ["QUANTITY_OUT_OF_RANGE"]
    assert codes(quantity_errors(MOST_PIECES + 1)) == ["QUANTITY_OUT_OF_RANGE"]


@pytest.mark.parametrize("text", ["a", "x" * 200, "Zoë's café, 北京 👩‍🔬", " padded "])
def test_a_text_has_something_visible(text: str) -> None:
    assert text_errors(text) == []


@pytest.mark.parametrize("text", ["", "   ", "x" * 201, "a\nb", "a\x00", "a\x85b", "half \ud83d"])
def test_a_text_is_neither_empty_nor_endless_nor_unprintable(text: str) -> None:
    assert text_errors(text, "name") == [TextInvalid(most=200, path=("name",))]


def test_an_address_needs_street_city_and_country() -> None:
    assert address_errors(Address(street="1 High St", city="Leeds", country="UK")) == []
    paths = [e.path for e in address_errors(Address(street="", city="", country=""), "address")]
    assert paths == [("address", "street"), ("address", "city"), ("address", "country")]


def test_postal_code_and_region_may_be_empty_but_not_endless() -> None:
    endless = "x" * 201
    address = Address(street="s", city="c", country="k", postal_code=endless, region=endless)
    assert [e.path for e in address_errors(address)] == [("postalCode",), ("region",)]


def test_one_broken_rule_is_raised_as_itself_and_several_together() -> None:
    one, other = TextInvalid(most=200), RateOutOfRange(basis_points=-1)
    refuse_if_any([])
    with pytest.raises(TextInvalid) as alone:
        refuse_if_any([one])
    assert alone.value.errors == (one,)
    with pytest.raises(DomainErrors) as together:
        refuse_if_any([one, other])
    assert together.value.errors == (one, other)
    assert str(together.value) == f"{one}; {other}"


def test_a_refusal_tells_its_facts() -> None:
    error = QuantityOutOfRange(quantity=0, least=1, most=5, path=("quantity",))
    assert error.code == "QUANTITY_OUT_OF_RANGE"
    assert error.facts == {"quantity": 0, "least": 1, "most": 5}
    assert str(error) == "The quantity 0 is not between 1 and 5."
