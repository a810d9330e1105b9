"""All read models: the list that a new file is added to."""

from typing import Any, Final

from domain.registry import AGGREGATES
from readmodels.account_statement import ACCOUNT_STATEMENT, TRIAL_BALANCE
from readmodels.backlog import BACKLOG
from readmodels.customer_directory import CUSTOMER_DIRECTORY
from readmodels.flow_edges import flow_edges
from readmodels.notifications import NOTIFICATIONS
from readmodels.order_details import ORDER_DETAILS
from readmodels.order_list import ORDER_LIST
from readmodels.payments import PAYMENTS
from readmodels.product_catalogue import PRODUCT_CATALOGUE
from readmodels.projection import Projection
from readmodels.returns import RETURNS
from readmodels.sales import SALES_BY_DAY, SALES_BY_PRODUCT
from readmodels.shipments import SHIPMENTS
from readmodels.stock_levels import STOCK_LEVELS

FLOW_EDGES: Final = flow_edges(tuple(event for decider in AGGREGATES for event in decider.events))

PROJECTIONS: Final[tuple[Projection[Any], ...]] = (
    ORDER_DETAILS,
    ORDER_LIST,
    CUSTOMER_DIRECTORY,
    PRODUCT_CATALOGUE,
    STOCK_LEVELS,
    SALES_BY_DAY,
    SALES_BY_PRODUCT,
    BACKLOG,
    RETURNS,
    PAYMENTS,
    SHIPMENTS,
    ACCOUNT_STATEMENT,
    TRIAL_BALANCE,
    NOTIFICATIONS,
    FLOW_EDGES,
)
