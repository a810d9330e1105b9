"""Everything the domain consists of: the lists that a new file is added to."""

from typing import Any, Final

from domain import money
from domain.account import ACCOUNT
from domain.checkout import (
    DISPATCH_LINES,
    PLACE_ORDER,
    RELEASE_ORDER,
    RESERVE_ORDER,
    SEND_SHIPMENT,
)
from domain.customer import CUSTOMER
from domain.decider import Decider, DomainError, Joint
from domain.gateways import PAYMENT_PROVIDER
from domain.laws import BALANCE, Law
from domain.order import ORDER
from domain.order_to_cash import ORDER_TO_CASH
from domain.payment import PAYMENT
from domain.process import Gateway, Process
from domain.product import PRODUCT
from domain.shipment import SHIPMENT
from domain.stock_item import STOCK_ITEM

AGGREGATES: Final[tuple[Decider[Any, Any, Any], ...]] = (
    CUSTOMER,
    PRODUCT,
    STOCK_ITEM,
    ORDER,
    PAYMENT,
    ACCOUNT,
    SHIPMENT,
)

JOINT_DECISIONS: Final[tuple[Joint[Any], ...]] = (
    PLACE_ORDER,
    RESERVE_ORDER,
    RELEASE_ORDER,
    DISPATCH_LINES,
    SEND_SHIPMENT,
)

PROCESSES: Final[tuple[Process[Any], ...]] = (ORDER_TO_CASH,)

GATEWAYS: Final[tuple[Gateway, ...]] = (PAYMENT_PROVIDER,)

LAWS: Final[tuple[Law[Any], ...]] = (BALANCE,)

ERRORS: Final[tuple[type[DomainError], ...]] = (
    *money.ERRORS,
    *(error for decider in AGGREGATES for error in decider.errors),
    *(error for joint in JOINT_DECISIONS for error in joint.errors),
)
