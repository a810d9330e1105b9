"""What to ask for: values of arguments that name what is there, by the names of the arguments."""

from collections.abc import Sequence
from random import Random
from typing import Any, Final

from graphql import (
    ConstValueNode,
    GraphQLEnumType,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    StringValueNode,
    ValueNode,
    get_named_type,
    is_list_type,
    is_non_null_type,
)

from domain.registry import AGGREGATES
from tests.api.furnished import Known

COUNTS: Final = (*range(1, 13), 20, 50, 100, 0, 101, -1, 2**31 - 1)
WORDS: Final = ("tea", "cup blue", "ann", "TEA-", "blume caf", "étoile", "zz", "", "x" * 300)
FIELDS: Final = ("status", "deliverTo.city", "lines.0.quantity", "name", "standing", "no.such")
HOSTILE: Final = ("", "order-", "order-0", "$where", "\u0000", "🫖", "a" * 400, "__proto__")
STORED: Final = tuple(sorted(event.__name__ for each in AGGREGATES for event in each.events))


class Meanings:
    def __init__(self, known: Known, own: Sequence[str] = ()) -> None:
        """`own` are the customers that asks are mostly about, if there are any."""
        streams = (
            *(*known.orders, *known.customers, *known.payments, *known.shipments),
            *(f"product-{sku}" for sku in known.skus),
            *(f"stock_item-{sku}" for sku in known.skus),
        )
        self._cursors = known.cursors
        self._texts: dict[str, Sequence[str]] = {
            "customerId": own or known.customers,
            "orderId": known.orders,
            "shipmentId": known.shipments,
            "sku": known.skus,
            "ids": streams,
            "stream": streams,
            "branch": known.branches,
            "correlationId": known.commands,
            "projection": known.projections,
            "field": FIELDS,
            "search": WORDS,
            "segment": ("HOUSEHOLD", "BUSINESS"),
            "region": ("EUROPE", "AFRICA"),
            "brand": ("Leafline", "Kiln & Co"),
            "currency": ("EUR",),
            "atLeast": known.positions,
            "position": known.positions,
            "reason": ("Chipped", "Too late"),
            "name": ("Ann", "Lime honey"),
            "email": ("ann@example.com",),
            "types": STORED,
        }
        self._ids: dict[str, Sequence[str]] = {
            "order": known.orders,
            "customer": own or known.customers,
            "payment": known.payments,
            "shipment": known.shipments,
            "branch": known.branches,
            "branchDiff": known.branches,
            "node": streams,
            "history": streams,
            "why": (*known.orders, *known.customers),
            "orderChanged": known.orders,
            "__type": ("Order", "Node", "CommandError", "OrderWhere", "OrderStatus", "Int", "No"),
        }

    def value(self, kind: Any, path: Sequence[str], given: ValueNode, random: Random) -> ValueNode:
        """A value for the argument at the end of this path; what was `given`, now and then."""
        named = get_named_type(kind)
        if random.random() < 0.07 or isinstance(named, GraphQLEnumType):
            return given
        if (
            isinstance(given, NullValueNode)
            and not is_non_null_type(kind)
            and random.random() < 0.3
        ):
            return given
        if named.name == "Int":
            return self._in_shape(kind, random, self._count)
        texts = self._named(path)
        if texts is None:
            return given
        if random.random() < 0.04 and named.name in ("ID", "String"):
            texts = HOSTILE
        return self._in_shape(
            kind, random, lambda random: StringValueNode(value=random.choice(texts), block=False)
        )

    def _named(self, path: Sequence[str]) -> Sequence[str] | None:
        """What the innermost name stands for that says so."""
        root = path[0]
        if path[-1] in ("after", "before"):
            return self._cursors.get(root)
        for name in reversed(path[1:]):
            if name in ("id", "name") and root in self._ids and len(path) == 2:
                return self._ids[root]
            if name in self._texts:
                return self._texts[name]
        return None

    @staticmethod
    def _count(random: Random) -> ConstValueNode:
        return IntValueNode(value=str(random.choice(COUNTS)))

    @staticmethod
    def _in_shape(kind: Any, random: Random, one: Any) -> ValueNode:
        """A list where a list is wanted."""
        inner = kind.of_type if is_non_null_type(kind) else kind
        if not is_list_type(inner):
            return one(random)  # type: ignore[no-any-return]
        return ListValueNode(values=tuple(one(random) for _ in range(random.randint(0, 4))))
