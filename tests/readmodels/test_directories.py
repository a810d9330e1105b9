"""Customer directory, product catalogue, stock levels."""

from domain.customer import Standing
from domain.money import Money
from domain.stock_item import (
    ReorderLevelSet,
    StockCounted,
    StockDispatched,
    StockReceived,
    StockReleased,
    StockReserved,
)
from readmodels.customer_directory import (
    CUSTOMER_DIRECTORY,
    CustomerListed,
    customers,
)
from readmodels.customer_directory import (
    named as customers_named,
)
from readmodels.page import Condition, Op
from readmodels.product_catalogue import PRODUCT_CATALOGUE, ProductListed, products
from readmodels.product_catalogue import named as products_named
from readmodels.stock_levels import STOCK_LEVELS, StockLevel, stock_levels
from tests.readmodels.events import (
    ADDED,
    BERLIN,
    DISCONTINUED,
    MOVED,
    PARIS,
    PRICED,
    REACHED,
    REGISTERED,
    REINSTATED,
    RENAMED,
    REPRICED,
    SUSPENDED,
)
from tests.readmodels.given import NOON, given

RECEIVED = StockReceived(sku="tea", quantity=30, source="", at=NOON)
RESERVED = StockReserved(sku="tea", order_id="order-1", quantity=18, at=NOON)
RELEASED = StockReleased(sku="tea", order_id="order-2", quantity=3, at=NOON)
DESPATCHED = StockDispatched(sku="tea", order_id="order-1", quantity=6, reserved=5, at=NOON)
COUNTED = StockCounted(sku="tea", counted=20, was=24, at=NOON)
LEVEL = ReorderLevelSet(sku="tea", level=9, at=NOON)


# -- customers


def test_a_registered_customer_is_in_the_directory() -> None:
    given(CUSTOMER_DIRECTORY, REGISTERED).then(
        "customer-1",
        CustomerListed(
            customer_id="customer-1",
            name="Zoë Ångström-Smith",
            email="zoe@example.org",
            phone="1",
            segment="RETAIL",
            address=BERLIN,
            standing=Standing.ACTIVE,
            registered_at=NOON,
            search=("angstrom", "smith", "zoe"),
            sort_name="zoe angstrom-smith",
            version=1,
        ),
    )


def test_the_directory_follows_changes() -> None:
    changed = given(CUSTOMER_DIRECTORY, REGISTERED, MOVED, REACHED, SUSPENDED).document(
        "customer-1"
    )
    assert (changed.address, changed.email, changed.phone) == (PARIS, "z@x.org", "2")
    assert (changed.standing, changed.version) == (Standing.SUSPENDED, 4)


def test_a_reinstated_customer_is_active() -> None:
    changed = given(CUSTOMER_DIRECTORY, REGISTERED, SUSPENDED, REINSTATED).document("customer-1")
    assert changed.standing is Standing.ACTIVE


def test_a_customer_never_registered_is_no_document() -> None:
    given(CUSTOMER_DIRECTORY, MOVED, SUSPENDED).then_none("customer-1")


def test_customers_are_found_by_the_beginnings_of_words() -> None:
    assert customers_named("ÅNG, zo") == (
        Condition("search", Op.STARTS_WITH, "ang"),
        Condition("search", Op.STARTS_WITH, "zo"),
    )


def test_customers_come_by_name() -> None:
    assert customers().sort == [("sort_name", 1), ("_id", 1)]


# -- products


def test_a_product_is_listed_with_what_is_free() -> None:
    events = (ADDED, PRICED, REPRICED, RENAMED, RECEIVED, RESERVED)
    given(PRODUCT_CATALOGUE, *events).then(
        "tea",
        ProductListed(
            sku="tea",
            listed=True,
            name="Sencha",
            brand="Leaf",
            price=Money(amount=600, currency="EUR"),
            tax=700,
            on_hand=30,
            reserved=18,
            available=12,
            search=("sencha",),
            sort_name="sencha",
            version=4,
        ),
    )


def test_stock_before_the_product_is_kept_and_not_listed() -> None:
    early = given(PRODUCT_CATALOGUE, RECEIVED).document("tea")
    assert (early.listed, early.on_hand) == (False, 30)
    added = given(PRODUCT_CATALOGUE, RECEIVED, ADDED, PRICED).document("tea")
    assert (added.listed, added.on_hand, added.name) == (True, 30, "Green Tea")


def test_a_product_without_a_price_is_not_listed() -> None:
    assert not given(PRODUCT_CATALOGUE, ADDED).document("tea").listed


def test_a_discontinued_product_stays_listed() -> None:
    gone = given(PRODUCT_CATALOGUE, ADDED, PRICED, DISCONTINUED).document("tea")
    assert (gone.listed, gone.discontinued) == (True, True)


def test_only_listed_products_are_asked_for() -> None:
    assert products(products_named("Green")).filter == {
        "$and": [
            {"listed": {"$eq": True}},
            {"search": {"$elemMatch": {"$gte": "green", "$lt": "green\U0010ffff"}}},
        ]
    }


# -- stock


def test_stock_is_what_came_less_what_left() -> None:
    events = (ADDED, RECEIVED, RESERVED, RELEASED, DESPATCHED, COUNTED)
    given(STOCK_LEVELS, *events).then(
        "tea",
        StockLevel(
            sku="tea",
            name="Green Tea",
            on_hand=20,
            reserved=10,
            available=10,
            reorder_level=10,
            low=True,
            version=6,
        ),
    )


def test_stock_above_the_reorder_level_is_not_low() -> None:
    assert not given(STOCK_LEVELS, RECEIVED).document("tea").low
    events = (RECEIVED, RESERVED, RELEASED, DESPATCHED, COUNTED, LEVEL)
    assert not given(STOCK_LEVELS, *events).document("tea").low


def test_a_product_without_stock_is_low() -> None:
    level = given(STOCK_LEVELS, ADDED, RENAMED).document("tea")
    assert (level.name, level.low, level.version) == ("Sencha", True, 0)


def test_a_discontinued_product_is_never_low() -> None:
    assert not given(STOCK_LEVELS, ADDED, DISCONTINUED).document("tea").low


def test_stock_levels_come_by_sku() -> None:
    assert stock_levels().sort == [("sku", 1), ("_id", 1)]
