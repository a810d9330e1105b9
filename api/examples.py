"""Operations that stand ready in the playground, and in README: a first look in three steps."""

from typing import Final

from api.playground import Example

ORDERS: Final = """query Orders {
  orders(first: 5) {
    totalCount
    nodes { id status placedAt total { amount currency } customer { name } lines { name quantity } }
  }
  stockLevels(where: { low: { eq: true } }) { nodes { sku name available } }
}"""

PLACE_ORDER: Final = """mutation PlaceOrder($input: PlaceOrderInput!) {
  placeOrder(input: $input) {
    errors { code message path }
    receipt { aggregateId position replayed }
    order { id status total { amount currency } lines { name quantity net { amount } } }
  }
}"""

NOTIFICATIONS: Final = """subscription Notifications {
  notifications { position customerId kind text }
}"""

DEMO_CUSTOMER: Final = "customer-a0000000-0000-4000-8000-000000000001"

EXAMPLES: Final = (
    Example("Orders", ORDERS),
    Example(
        "Place an order",
        PLACE_ORDER,
        {
            "input": {
                "commandId": "11111111-1111-4111-8111-111111111111",
                "customerId": DEMO_CUSTOMER,
                "lines": [{"sku": "TEA-GREEN", "quantity": 2}, {"sku": "CUP-BLUE", "quantity": 1}],
            }
        },
    ),
    Example("Follow what customers are told", NOTIFICATIONS),
)
