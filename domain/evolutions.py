"""How events have changed their shape over the years: each change is one function and one line.

Their samples, and the test that tells what is missing, are in `tests/contracts`.
"""

from typing import Final

from domain.upcasting import Data, Shape, Upcaster


def _as_it_was(data: Data) -> tuple[Data]:
    """Only the name has changed."""
    return (data,)


def _before_payments(data: Data) -> tuple[Data]:
    """An order that was taken before there were payments charges nobody now."""
    return ({**data, "card": "", "imported": True},)


def _price_apart(data: Data) -> tuple[Data, Data]:
    """What a product is, and what it costs, are two things: its price changes on its own."""
    added = {name: value for name, value in data.items() if name != "price"}
    priced = {"sku": data["sku"], "price": data["price"], "was": None, "at": data["at"]}
    return added, priced


UPCASTERS: Final = (
    Upcaster(Shape("OrderPlaced", 1), (Shape("OrderPlaced", 2),), _before_payments),
    Upcaster(Shape("StockDespatched", 1), (Shape("StockDispatched", 1),), _as_it_was),
    Upcaster(
        Shape("ProductAdded", 1),
        (Shape("ProductAdded", 2), Shape("ProductPriced", 1)),
        _price_apart,
    ),
    Upcaster(Shape("ProductRepriced", 1), (Shape("ProductPriced", 1),), _as_it_was),
)
