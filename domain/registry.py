"""Everything the domain consists of: the two lists that a new file is added to."""

from typing import Any, Final

from domain import money
from domain.checkout import DISPATCH_LINES, PLACE_ORDER, RESERVE_ORDER
from domain.customer import CUSTOMER
from domain.decider import Decider, DomainError, Joint
from domain.order import ORDER
from domain.product import PRODUCT
from domain.stock_item import STOCK_ITEM

AGGREGATES: Final[tuple[Decider[Any, Any, Any], ...]] = (CUSTOMER, PRODUCT, STOCK_ITEM, ORDER)

JOINT_DECISIONS: Final[tuple[Joint[Any], ...]] = (PLACE_ORDER, RESERVE_ORDER, DISPATCH_LINES)

ERRORS: Final[tuple[type[DomainError], ...]] = (
    *money.ERRORS,
    *(error for decider in AGGREGATES for error in decider.errors),
    *(error for joint in JOINT_DECISIONS for error in joint.errors),
)
