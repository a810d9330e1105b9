"""Documents by `hypothesis-graphql`: what is selected, and arguments of the right types.

1. The schema is cut into areas: a document about a few root fields goes deep into what is below
   them, one about all of them would select little of each.
2. The documents are the same each time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Any, Final, cast

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLArgument,
    GraphQLField,
    GraphQLID,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
    NameNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    introspection_types,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis_graphql import mutations, nodes, queries

from api.schema import SCHEMA

REAL: Final = SCHEMA._schema

QUERIES: Final = (
    *(("order",), ("orders",), ("order", "orders"), ("customer", "customers"), ("node", "nodes")),
    *(("payment", "payments"), ("shipment", "shipments"), ("product", "products")),
    *(("stockLevel", "stockLevels"), ("trialBalance", "accountStatement"), ("returns",)),
    *(("backlog", "returnsOfOrders"), ("salesByDay", "salesByProduct"), ("inbox",), ("history",)),
    *(("why", "flow"), ("declaredFlow", "flowReport", "realFlow"), ("branch", "branches")),
    *(("branchDiff",), ("generations", "rebuilds", "differences", "parkedKeys")),
    *(("previewPlaceOrder", "previewReturnLines"), ("previewCancelOrder", "previewSendShipment")),
    *(("previewReceiveStock", "previewCountStock"), ("previewSuspendCustomer",)),
    *(("previewAddProduct", "previewRepriceProduct", "previewDiscontinueProduct"),),
)
"""Each in documents of its own."""

ERRORS: Final = ("InsufficientStock", "OrderUnknown", "ProductUnknown", "QuantityOutOfRange")
"""Of the many types of errors of commands, those that documents are to tell apart."""


def _sampled(*texts: str) -> st.SearchStrategy[object]:
    return st.sampled_from(texts).map(nodes.String)


SCALARS: Final = {
    "Position": _sampled("0:1", "0:20", "0:50", "0:999999999999999999"),
    "DateTime": _sampled(
        "2026-10-05T00:00:00Z",
        "2026-10-14T12:00:00+02:00",
        "2026-10-02T12:00:00.000Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999Z",
    ),
    "Date": _sampled("2026-10-01", "2026-10-09", "2026-11-01", "2024-02-29", "9999-12-31"),
    "Decimal": _sampled("0", "1", "12.50", "0.19", "-3", "99.999", "999999999999999999"),
    "CurrencyCode": _sampled("EUR", "EUR", "USD", "JPY"),
    "UUID": st.uuids().map(str).map(nodes.String),
    "JSON": st.just(nodes.Null) | _sampled("x"),
    "Count": st.integers(0, 100).map(nodes.Int),
}


MUTATIONS: Final = (
    *(("placeOrder", "cancelOrder"), ("reserveOrder", "dispatchLines"), ("markLinesDelivered",)),
    *(("returnLines",), ("sendShipment", "recordArrival"), ("registerCustomer",)),
    *(("changeCustomerAddress", "changeCustomerContact"),),
    *(("suspendCustomer", "reinstateCustomer"), ("addProduct", "repriceProduct")),
    *(("renameProduct", "discontinueProduct"), ("receiveStock", "countStock")),
    *(("reserveStock", "despatchStock"), ("releaseStock", "setReorderLevel")),
)
"""Commands: sent again, they are answered as they were."""

NOT_REPEATABLE: Final = (
    *(("dropEvents", "injectEvent"), ("replaceEvent", "useVariant"), ("sendToBranch",)),
    *(("removeBranch",), ("rebuildReadModel", "pauseRebuild", "resumeRebuild")),
    *(("cancelRebuild", "rollbackGeneration", "removeGeneration"),),
)
"""These do something each time they are sent, but for branches and read models there are not.
`createBranch` is in neither: it cannot be kept from it."""

SUBSCRIPTIONS: Final = ("orderChanged", "notifications", "events", "rebuildProgress")


def generated(kind: GraphQLObjectType, fields: Sequence[str], count: int) -> list[DocumentNode]:
    """Documents that ask for some of these root fields."""
    found: list[DocumentNode] = []
    some = GraphQLObjectType(kind.name, {name: kind.fields[name] for name in fields})
    errors = [REAL.type_map[name] for name in ERRORS]
    cut = GraphQLSchema(
        query=GraphQLObjectType("Unused", {"unused": GraphQLField(GraphQLID)})
        if kind.name == "Mutation"
        else some,
        mutation=some if kind.name == "Mutation" else None,
        types=errors if fields[0].startswith("preview") or kind.name == "Mutation" else None,
    )
    make = mutations if kind.name == "Mutation" else queries
    strategy = make(cut, custom_scalars=cast(Any, SCALARS), print_ast=lambda document: document)

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(document: DocumentNode) -> None:
        found.append(document)

    draw()
    return found


def query_documents(count: int) -> Iterator[DocumentNode]:
    """Queries of all areas in turn, introspection among them; about so many."""
    kind = REAL.query_type
    assert kind is not None
    each = count // (len(QUERIES) + 1) + 1
    asked = [generated(kind, fields, each) for fields in QUERIES]
    return _in_turn([*asked, _introspection(each)])


def mutation_documents(areas: Sequence[Sequence[str]], count: int) -> Iterator[DocumentNode]:
    """Mutations of all areas in turn; about so many."""
    kind = REAL.mutation_type
    assert kind is not None
    each = count // len(areas) + 1
    return _in_turn([generated(kind, fields, each) for fields in areas])


def subscription_documents(name: str, count: int) -> list[DocumentNode]:
    """Subscriptions to one root field, generated as if they were queries."""
    kind = REAL.subscription_type
    assert kind is not None
    found = []
    for document in generated(kind, (name,), count):
        (operation,) = document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        subscription = replace(operation, operation=OperationType.SUBSCRIPTION)
        found.append(DocumentNode(definitions=(subscription,)))
    return found


def _in_turn(areas: Sequence[Sequence[DocumentNode]]) -> Iterator[DocumentNode]:
    return (one for one in chain.from_iterable(zip_longest(*areas)) if one is not None)


def _introspection(count: int) -> list[DocumentNode]:
    """Under names of their own at first: a schema cannot have fields that begin with `__`."""
    fields = {
        "schema": GraphQLField(GraphQLNonNull(cast(Any, introspection_types["__Schema"]))),
        "type": GraphQLField(
            cast(Any, introspection_types["__Type"]),
            {"name": GraphQLArgument(GraphQLNonNull(GraphQLString))},
        ),
    }
    kind = GraphQLObjectType("Query", fields)
    return [_renamed(document) for document in generated(kind, list(fields), count)]


def _renamed(document: DocumentNode) -> DocumentNode:
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    fields = [one for one in operation.selection_set.selections if isinstance(one, FieldNode)]
    named = [replace(one, name=NameNode(value=f"__{one.name.value}")) for one in fields]
    selected = SelectionSetNode(selections=tuple(named))
    return DocumentNode(definitions=(replace(operation, selection_set=selected),))
