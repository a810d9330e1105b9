"""Who may do what: every role on every root field, and customers among their own data only."""

import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import jwt
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNonNull,
    is_list_type,
    is_non_null_type,
    is_scalar_type,
    is_wrapping_type,
)

from api.auth import DEV_AUDIENCE, DEV_ISSUER, Role
from api.schema import SCHEMA
from tests.e2e.client import Answer, Client
from tests.e2e.shop import Shop, money

CUSTOMER, STAFF, OPERATOR = Role.CUSTOMER, Role.STAFF, Role.OPERATOR

EVERYONE: Final = [
    "Query.node",
    "Query.nodes",
    "Query.order",
    "Query.orders",
    "Query.customer",
    "Query.product",
    "Query.products",
    "Query.inbox",
    "Query.payment",
    "Query.shipment",
    "Query.history",
    "Mutation.changeCustomerAddress",
    "Mutation.changeCustomerContact",
    "Mutation.placeOrder",
    "Mutation.cancelOrder",
    "Subscription.orderChanged",
    "Subscription.notifications",
]
STAFF_ONLY: Final = [
    "Query.customers",
    "Query.stockLevel",
    "Query.stockLevels",
    "Query.payments",
    "Query.shipments",
    "Query.accountStatement",
    "Query.trialBalance",
    "Query.salesByDay",
    "Query.salesByProduct",
    "Query.backlog",
    "Query.returns",
    "Query.returnsOfOrders",
    "Query.why",
    "Query.previewPlaceOrder",
    "Query.previewCancelOrder",
    "Query.previewReturnLines",
    "Query.previewSendShipment",
    "Query.previewReceiveStock",
    "Query.previewCountStock",
    "Query.previewAddProduct",
    "Query.previewRepriceProduct",
    "Query.previewDiscontinueProduct",
    "Query.previewSuspendCustomer",
    "Mutation.registerCustomer",
    "Mutation.suspendCustomer",
    "Mutation.reinstateCustomer",
    "Mutation.addProduct",
    "Mutation.repriceProduct",
    "Mutation.renameProduct",
    "Mutation.discontinueProduct",
    "Mutation.receiveStock",
    "Mutation.reserveStock",
    "Mutation.releaseStock",
    "Mutation.despatchStock",
    "Mutation.countStock",
    "Mutation.setReorderLevel",
    "Mutation.reserveOrder",
    "Mutation.dispatchLines",
    "Mutation.markLinesDelivered",
    "Mutation.returnLines",
    "Mutation.sendShipment",
    "Mutation.recordArrival",
    "Query.branches",
    "Query.branch",
    "Query.branchDiff",
    "Mutation.createBranch",
    "Mutation.injectEvent",
    "Mutation.dropEvents",
    "Mutation.replaceEvent",
    "Mutation.sendToBranch",
    "Mutation.useVariant",
    "Mutation.removeBranch",
]
OPERATOR_ONLY: Final = [
    "Query.parkedKeys",
    "Query.differences",
    "Query.declaredFlow",
    "Query.realFlow",
    "Query.flowReport",
    "Query.flow",
    "Query.generations",
    "Query.rebuilds",
    "Mutation.rebuildReadModel",
    "Mutation.pauseRebuild",
    "Mutation.resumeRebuild",
    "Mutation.cancelRebuild",
    "Mutation.rollbackGeneration",
    "Mutation.removeGeneration",
    "Subscription.events",
    "Subscription.rebuildProgress",
]
MAY: Final = {
    **dict.fromkeys(EVERYONE, frozenset(Role)),
    **dict.fromkeys(STAFF_ONLY, frozenset({STAFF, OPERATOR})),
    **dict.fromkeys(OPERATOR_ONLY, frozenset({OPERATOR})),
}
KINDS: Final = ("Query", "Mutation", "Subscription")


def root_fields() -> dict[str, GraphQLField]:
    types = {kind: SCHEMA._schema.get_type(kind) for kind in KINDS}
    return {
        f"{kind}.{name}": field
        for kind, type_ in types.items()
        for name, field in type_.fields.items()  # type: ignore[union-attr]  # they are object types
    }


# Any document for a field

SAMPLES: Final = {
    "String": '"x"',
    "ID": '"x"',
    "Int": "1",
    "Boolean": "false",
    "Decimal": '"1"',
    "Date": '"2020-01-01"',
    "CurrencyCode": '"EUR"',
    "Position": '"0:1"',
    "JSON": "{}",
}


def literal(kind: Any) -> str:
    """Some value of a required input type."""
    if is_non_null_type(kind):
        return literal(kind.of_type)
    if is_list_type(kind):
        return f"[{literal(kind.of_type)}]"
    if isinstance(kind, GraphQLInputObjectType):
        parts = {n: f.type for n, f in kind.fields.items() if isinstance(f.type, GraphQLNonNull)}
        if kind.is_one_of:
            name, field = next(iter(kind.fields.items()))
            parts = {name: field.type}
        return "{" + ", ".join(f"{name}: {literal(part)}" for name, part in parts.items()) + "}"
    if isinstance(kind, GraphQLEnumType):
        return str(next(iter(kind.values)))
    return f'"{uuid4()}"' if kind.name == "UUID" else SAMPLES[kind.name]


def selection(kind: Any) -> str:
    while is_wrapping_type(kind):
        kind = kind.of_type
    return "" if is_scalar_type(kind) else "{ __typename }"


def document(name: str) -> str:
    kind, _, field = name.partition(".")
    definition = root_fields()[name]
    required = {n: a.type for n, a in definition.args.items() if is_non_null_type(a.type)}
    said = ", ".join(f"{argument}: {literal(type_)}" for argument, type_ in required.items())
    arguments = f"({said})" if said else ""
    return f"{kind.lower()} {{ {field}{arguments} {selection(definition.type)} }}"


async def is_open(client: Client, name: str) -> bool:
    """Whether the field itself is open to the role, whatever it says to its arguments."""
    if name.startswith("Subscription"):
        async with client.socket() as socket:
            await socket.subscribe(document(name), variables={})
            await socket.subscribe("{ __typename }", "after")
            first = await socket.heard()
        told = first["payload"] if first["type"] == "error" else []
    else:
        told = (await client.answer(document(name))).body.get("errors", [])
    return not any(error["message"] == f"{name} is not open to you." for error in told)


def test_every_root_field_has_its_rights_stated_here() -> None:
    assert set(MAY) == set(root_fields())


@pytest.mark.parametrize("role", [CUSTOMER, STAFF, OPERATOR])
async def test_each_role_has_its_root_fields_and_no_others(nobody: Client, role: Role) -> None:
    client = nobody.signed_in((role,), "customer-x" if role is CUSTOMER else None)
    for name, roles in MAY.items():
        assert await is_open(client, name) == (role in roles), name


async def test_a_token_without_a_role_opens_nothing(nobody: Client) -> None:
    client = nobody.signed_in(())
    for name in MAY:
        assert not await is_open(client, name), name


# Own data


ASK_ORDER = "query ($id: ID!) { order(id: $id) { id } }"


class Two:
    """Two customers with an order each."""

    def __init__(self, shop: Shop, ids: tuple[str, str], orders: tuple[str, str]) -> None:
        self.own, self.other = ids
        self.own_order, self.other_order = orders
        self.client = shop.staff.customer(self.own)


@pytest.fixture
async def two(shop: Shop) -> Two:
    ids = await shop.customer("Ann"), await shop.customer("Bob")
    sku = await shop.product(stock=10)
    first, second = await shop.order(ids[0], sku), await shop.order(ids[1], sku)
    await shop.staff.run(
        "query ($at: Position) { orders(first: 1, atLeast: $at) { totalCount } }",
        at=second["position"],
    )
    return Two(shop, ids, (first["aggregateId"], second["aggregateId"]))


def told(answer: Answer, *unknown: str) -> Any:
    """What a client learns from a refusal, apart from the ids that it sent itself."""
    errors = [
        {k: v for k, v in error.items() if k != "extensions"} for error in answer.body["errors"]
    ]
    text = repr((answer.status, answer.codes, errors, answer.body.get("data")))
    for asked in unknown:
        text = text.replace(asked, "…")
    return text


@pytest.mark.parametrize(
    "document",
    [
        ASK_ORDER,
        "query ($id: ID!) { node(id: $id) { id } }",
        "query ($id: ID!) { nodes(ids: [$id]) { id } }",
    ],
)
async def test_anothers_order_and_no_order_look_the_same(two: Two, document: str) -> None:
    unknown = f"order-{uuid4()}"
    refused = [await two.client.answer(document, id=asked) for asked in (two.other_order, unknown)]
    assert refused[0].codes == ["FORBIDDEN"]
    assert told(refused[0], two.other_order) == told(refused[1], unknown)
    assert (await two.client.answer(document, id=two.own_order)).codes == []


async def test_anothers_order_cannot_be_cancelled_nor_its_version_be_learnt(two: Two) -> None:
    unknown = f"order-{uuid4()}"
    extras: list[dict[str, Any]] = [{}, {"expectedVersion": 7}]
    for more in extras:
        payloads = [
            await two.client.send("cancelOrder", orderId=asked, reason="mine?", **more)
            for asked in (two.other_order, unknown)
        ]
        texts = [
            repr(payload).replace(asked, "…")
            for payload, asked in zip(payloads, (two.other_order, unknown), strict=True)
        ]
        assert texts[0] == texts[1]
        assert payloads[0]["errors"][0]["code"] == "ORDER_UNKNOWN"
    await two.client.done("cancelOrder", orderId=two.own_order, reason="mine")


async def test_customers_see_their_own_orders_whatever_they_filter(two: Two) -> None:
    ask = "query ($w: OrderWhere) { orders(where: $w) { nodes { id customerId } totalCount } }"
    own = (await two.client.run(ask))["orders"]
    assert own["nodes"] == [{"id": two.own_order, "customerId": two.own}]
    for customer in ({"eq": two.other}, {"in": [two.other]}):
        found = await two.client.run(ask, w={"customerId": customer})
        assert found["orders"] == {"nodes": [], "totalCount": 0}


async def test_customers_know_themselves_only(two: Two) -> None:
    for document in (
        "query ($id: ID!) { customer(id: $id) { email } }",
        "query ($id: ID!) { node(id: $id) { ... on Customer { email } } }",
        "query ($id: ID!) { inbox(customerId: $id) { text } }",
    ):
        assert (await two.client.answer(document, id=two.own)).codes == []
        refused = [
            await two.client.answer(document, id=asked) for asked in (two.other, "customer-none")
        ]
        assert refused[0].codes == ["FORBIDDEN"]
        assert told(refused[0]) == told(refused[1])


async def test_one_refused_node_leaves_the_others(two: Two) -> None:
    ask = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    answer = await two.client.answer(ask, ids=[two.own_order, two.other_order, two.own])
    assert answer.body["data"]["nodes"] == [{"id": two.own_order}, None, {"id": two.own}]
    assert [error["path"] for error in answer.body["errors"]] == [["nodes", 1]]


async def test_stock_is_for_staff_also_by_its_id(two: Two, shop: Shop) -> None:
    sku = await shop.product(stock=3)
    found = await two.client.run(
        "query ($id: ID!) { node(id: $id) { id } }", id=f"stock_item-{sku}"
    )
    assert found == {"node": None}


@pytest.mark.parametrize(
    ("field", "argument"),
    [("orderChanged", "customerId"), ("orderChanged", "id"), ("notifications", "customerId")],
)
async def test_customers_follow_their_own_only(two: Two, field: str, argument: str) -> None:
    others = [two.other_order, f"order-{uuid4()}"] if argument == "id" else [two.other, "*"]
    async with two.client.socket() as socket:
        for number, asked in enumerate(others):
            text = f'subscription {{ {field}({argument}: "{asked}", after: "0:0") {{ position }} }}'
            await socket.subscribe(text, str(number))
            assert await socket.refused(str(number)) == "FORBIDDEN"
        await socket.subscribe(f"subscription {{ {field} {{ position }} }}", "everything")
        assert await socket.refused("everything") == "FORBIDDEN"


@pytest.mark.parametrize(
    ("mutation", "input"),
    [
        ("changeCustomerContact", {"email": "eve@example.com"}),
        ("placeOrder", {"lines": [{"sku": "TEA", "quantity": 1}]}),
    ],
)
async def test_nobody_acts_for_another_customer(
    two: Two, mutation: str, input: Mapping[str, Any]
) -> None:
    for asked in (two.other, "customer-none"):
        answer = await two.client.send_raw(mutation, customerId=asked, **input)
        assert answer.codes == ["FORBIDDEN"]


@pytest.mark.parametrize(
    "staff_only",
    [
        {"at": "2020-01-01T00:00:00Z"},
        {"unitPrice": money("0.01")},
        {"discount": "1"},
        {"taxRate": "0"},
    ],
)
async def test_customers_do_not_say_price_nor_time(
    two: Two, shop: Shop, staff_only: dict[str, Any]
) -> None:
    sku = await shop.product()
    line, rest = {"sku": sku, "quantity": 1}, staff_only
    if "at" not in staff_only:
        line, rest = {**line, **staff_only}, {}
    order = {"customerId": two.own, "lines": [line], **rest}
    assert (await two.client.send_raw("placeOrder", **order)).codes == ["FORBIDDEN"]
    await shop.staff.done("placeOrder", **order)


async def test_a_customer_orders_and_is_charged_what_the_catalogue_says(
    two: Two, shop: Shop
) -> None:
    sku = await shop.product(price="10.00")
    payload = await two.client.done(
        "placeOrder",
        "order { total { amount } }",
        customerId=two.own,
        lines=[{"sku": sku, "quantity": 2}],
    )
    assert payload["order"]["total"]["amount"] == "24.00"


# Tokens


def claims(**more: Any) -> dict[str, Any]:
    own = {"iss": DEV_ISSUER, "aud": DEV_AUDIENCE, "sub": "eve", "exp": int(time.time() + 600)}
    return {**own, "roles": ["operator"], **more}


def forged(client: Client) -> dict[str, str]:
    key = (client.home / "dev-key").read_bytes()
    good = jwt.encode(claims(), key, "HS256")
    head, body, signature = good.split(".")
    return {
        "none": "",
        "no token": "let me in",
        "other key": jwt.encode(claims(), "0" * 64, "HS256"),
        "no algorithm": jwt.encode(claims(), "", "none"),
        "other issuer": jwt.encode(claims(iss="evil"), key, "HS256"),
        "other audience": jwt.encode(claims(aud="other"), key, "HS256"),
        "expired": jwt.encode(claims(exp=int(time.time() - 1)), key, "HS256"),
        "never ends": jwt.encode({k: v for k, v in claims().items() if k != "exp"}, key, "HS256"),
        "nobody": jwt.encode({k: v for k, v in claims().items() if k != "sub"}, key, "HS256"),
        "customer of nobody": jwt.encode(claims(roles=["customer"]), key, "HS256"),
        "changed": f"{head}.{body[:-2]}AA.{signature}",
        "cut": f"{head}.{body}.",
        "endless": "a" * 50_000,
    }


async def test_tokens_that_are_not_good_open_nothing(nobody: Client) -> None:
    for kind, token in forged(nobody).items():
        answer = await nobody.with_token(token).answer("{ __typename }")
        assert (answer.status, answer.codes) in (
            (401, ["UNAUTHENTICATED"]),
            (400, ["BAD_REQUEST"]),
        ), kind
        if answer.status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("kind", ["none", "other key", "no algorithm", "expired"])
async def test_nor_do_they_open_a_socket(nobody: Client, kind: str) -> None:
    async with nobody.signed_in((OPERATOR,)).socket() as good:
        await good.say(type="ping")
        assert await good.heard() == {"type": "pong"}
    bad = nobody.with_token(forged(nobody)[kind])
    with pytest.raises(Exception, match="4403"):
        async with bad.socket():
            pass


async def test_a_socket_ends_with_its_token(two: Two, shop: Shop) -> None:
    client = shop.staff.customer(two.own, seconds=2)
    async with client.socket() as socket:
        await socket.subscribe("subscription { orderChanged { position } }")
        await socket.heard()
        assert await socket.close_code() == 4403
