"""All read models: the list that a new file is added to."""

from typing import Any, Final

from readmodels.backlog import BACKLOG
from readmodels.customer_directory import CUSTOMER_DIRECTORY
from readmodels.notifications import NOTIFICATIONS
from readmodels.order_details import ORDER_DETAILS
from readmodels.order_list import ORDER_LIST
from readmodels.product_catalogue import PRODUCT_CATALOGUE
from readmodels.projection import Projection
from readmodels.returns import RETURNS
from readmodels.sales import SALES_BY_DAY, SALES_BY_PRODUCT
from readmodels.stock_levels import STOCK_LEVELS

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
    NOTIFICATIONS,
)
