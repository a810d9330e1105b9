"""What nobody sends by accident: each is refused with a type, quickly, and hurts nobody else.

1. A refusal is quick: the median of three is below a tenth of a second, as seen by the client.
2. Nothing that is sent gives a 5xx, nor the code INTERNAL.
3. HTTP and websocket refuse the same.
"""

import asyncio
import time
from statistics import median
from typing import Any, Final
from uuid import uuid4

import orjson
import pytest
from websockets.asyncio.client import connect

from api.errors import ErrorCode
from tests.e2e.client import Answer, Client, Socket, code_of, command
from tests.e2e.shop import ADDRESS, Shop, money, new_sku

SECONDS: Final = 0.1
TYPED: Final = {code.value for code in ErrorCode} - {"INTERNAL", "UNAVAILABLE", "TIMEOUT"}

ORDERS: Final = "query ($w: OrderWhere) { orders(where: $w) { nodes { id } } }"
NODES: Final = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
PRODUCTS: Final = (
    "query ($s: String, $w: ProductWhere) { products(search: $s, where: $w) { nodes { sku } } }"
)
DOUBLING: Final = "{ ...F30 } fragment F0 on Query { __typename } " + " ".join(
    f"fragment F{n} on Query {{ ...F{n - 1} ...F{n - 1} }}" for n in range(1, 31)
)
CYCLE: Final = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
DEEP: Final = "{ orders { nodes " + "{ customer " * 60 + "{ id }" + " }" * 60 + " } }"


def nested(depth: int) -> Any:
    found: Any = "x"
    for _ in range(depth):
        found = {"a": [found]}
    return found


DOCUMENTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "nothing": ("", {}),
    "no GraphQL": ("SELECT * FROM orders", {}),
    "unclosed": ("{ orders { nodes { id }", {}),
    "unknown field": ("{ passwords }", {}),
    "two nameless operations": ("{ __typename } { __typename }", {}),
    "deep": (DEEP, {}),
    "deep brackets": ("{" * 5_000, {}),
    "deep lists": (f'{{ nodes(ids: {"[" * 4_000}"x"{"]" * 4_000}) {{ id }} }}', {}),
    "doubling fragments": (DOUBLING, {}),
    "fragments in a circle": (CYCLE, {}),
    "1,000 aliases": ("{" + " ".join(f"a{n}: __typename" for n in range(1_000)) + "}", {}),
    "100 aliases": ("{" + " ".join(f"a{n}: __typename" for n in range(100)) + "}", {}),
    "1,000 of one field": ("{" + "__typename " * 990 + "}", {}),
    "1,000 directives": ("{ __typename " + "@skip(if: false) " * 150 + "}", {}),
    "1,000 operations": (" ".join(f"query Q{n} {{ __typename }}" for n in range(150)), {}),
    "100 commands": (
        "mutation {"
        + " ".join(
            f'm{n}: releaseStock(input: {{ commandId: "{uuid4()}", sku: "x", orderId: "x" }})'
            "{ __typename }"
            for n in range(14)
        )
        + " ".join("releaseStock { __typename }" for _ in range(20))
        + "}",
        {},
    ),
    "all pages of all pages": (
        (
            "{ orders(first: 100) { nodes { lines { product { id } } timeline { text } } "
            "edges { node { lines { product { id } } } } } }"
        ),
        {},
    ),
    "a page of 2^63": ("query ($n: Int) { orders(first: $n) { nodes { id } } }", {"n": 2**63}),
    "a page of 10^300": ("query ($n: Int) { orders(first: $n) { nodes { id } } }", {"n": 1e300}),
    "a page of text": ("query ($n: Int) { orders(first: $n) { nodes { id } } }", {"n": "20"}),
    "10,000 ids": (NODES, {"ids": ["x"] * 10_000}),
    "101 ids": (NODES, {"ids": ["order-1"] * 101}),
    "10,000 ids in a filter": (ORDERS, {"w": {"customerId": {"in": ["x"] * 10_000}}}),
    "an operator in a filter": (ORDERS, {"w": {"customerId": {"$ne": "x"}}}),
    "an operator as a value": (ORDERS, {"w": {"customerId": {"eq": {"$ne": "x"}}}}),
    "an operator in a list": (ORDERS, {"w": {"customerId": {"in": [{"$gt": ""}]}}}),
    "an operator as a field": (ORDERS, {"w": {"$where": "sleep(9999)"}}),
    "an operator in the text": ("{ orders(where: {customerId: {$ne: 1}}) { nodes { id } } }", {}),
    "an object as an id": ("query ($id: ID!) { order(id: $id) { id } }", {"id": {"$gt": ""}}),
    "a list as an id": ("query ($id: ID!) { order(id: $id) { id } }", {"id": ["x"]}),
    "three bounds for between": (ORDERS, {"w": {"placedOn": {"between": ["2020-01-01"] * 3}}}),
    "no day": (ORDERS, {"w": {"placedOn": {"eq": "2020-13-45"}}}),
    "no time": (ORDERS, {"w": {"placedAt": {"gt": "yesterday"}}}),
    "a time without offset": (ORDERS, {"w": {"placedAt": {"gt": "2020-01-01T00:00:00"}}}),
    "a time before time": (ORDERS, {"w": {"placedAt": {"gt": "0001-01-01T00:00:00+23:59"}}}),
    "an amount of 2^63": (ORDERS, {"w": {"total": {"currency": "EUR", "gt": str(2**63)}}}),
    "an amount of 10^18 - 1": (ORDERS, {"w": {"total": {"currency": "EUR", "gt": "9" * 18}}}),
    "an endless amount": (ORDERS, {"w": {"total": {"currency": "EUR", "gt": "1e999999999"}}}),
    "no number": (ORDERS, {"w": {"total": {"currency": "EUR", "gt": "NaN"}}}),
    "an amount as a number": (ORDERS, {"w": {"total": {"currency": "EUR", "gt": 1.5}}}),
    "an unknown currency": (ORDERS, {"w": {"total": {"currency": "$ne", "gt": "1"}}}),
    "2^63 pieces": (PRODUCTS, {"w": {"available": {"gt": 2**63}}}),
    "a negative position": (
        "query ($p: Position) { orders(atLeast: $p) { totalCount } }",
        {"p": "0:-1"},
    ),
    "another partition": (
        "query ($p: Position) { orders(atLeast: $p) { totalCount } }",
        {"p": "1:1"},
    ),
    "a position of 10^30": (
        "query ($p: Position) { orders(atLeast: $p) { totalCount } }",
        {"p": f"0:{10**30}"},
    ),
    "a nested variable": (ORDERS, {"w": nested(100)}),
    "a variable too many": ("query ($n: Int!) { orders(first: $n) { totalCount } }", {"m": 1}),
    "a word of 50,000 letters": (PRODUCTS, {"s": "a" * 50_000}),
    "10,000 words": (PRODUCTS, {"s": "a b " * 5_000}),
    "a huge cursor": ('{ orders(after: "' + "A" * 50_000 + '") { totalCount } }', {}),
    "half a character": ('{ product(sku: "\\uD800") { id } }', {}),
    "a character of four bytes, halved": ('{ product(sku: "\\u{D83D}") { id } }', {}),
    "120 months": (
        '{ returnsOfOrders(from: "2020-01-01", months: 2147483647) { customerId } }',
        {},
    ),
}
MAY_ANSWER: Final = {"a word of 50,000 letters", "10,000 words"}
"""Odd, but a search like any other."""


def line(**more: Any) -> dict[str, Any]:
    return {"sku": "TEA", "quantity": 1, **more}


def order(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"customerId": "customer-x", "lines": list(lines), **more}


COMMANDS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "no lines": ("placeOrder", order()),
    "101 lines": ("placeOrder", order(*[line()] * 101)),
    "2,000 lines": ("placeOrder", order(*[line()] * 2_000)),
    "no pieces": ("placeOrder", order(line(quantity=0))),
    "-1 pieces": ("placeOrder", order(line(quantity=-1))),
    "2^31 - 1 pieces": ("placeOrder", order(line(quantity=2**31 - 1))),
    "2^31 pieces": ("placeOrder", order(line(quantity=2**31))),
    "2^63 pieces": ("placeOrder", order(line(quantity=2**63))),
    "half a piece": ("placeOrder", order(line(quantity=0.5))),
    "pieces as text": ("placeOrder", order(line(quantity="1"))),
    "a price of 10^18 - 1": ("placeOrder", order(line(unitPrice=money("9" * 18)))),
    "a negative price": ("placeOrder", order(line(unitPrice=money("-1")))),
    "a discount of 10^17": ("placeOrder", order(line(discount="9" * 17))),
    "an operator as a sku": ("placeOrder", order(line(sku={"$ne": ""}))),
    "NUL in a sku": ("placeOrder", order(line(sku="A\0B"))),
    "a customer with NUL": ("placeOrder", order(line(), customerId="customer-\0")),
    "an endless customer": ("placeOrder", order(line(), customerId="customer-" + "x" * 50_000)),
    "10,000 line numbers": ("dispatchLines", {"orderId": "order-x", "lines": list(range(10_000))}),
    "no line numbers": ("dispatchLines", {"orderId": "order-x", "lines": []}),
    "NUL in a name": ("addProduct", {"sku": "A", "name": "A\0", "price": money("1")}),
    "a new line in a name": ("addProduct", {"sku": "A", "name": "A\nB", "price": money("1")}),
    "an endless name": ("addProduct", {"sku": "A", "name": "A" * 50_000, "price": money("1")}),
    "an endless sku": ("addProduct", {"sku": "A" * 50_000, "name": "A", "price": money("1")}),
    "a NUL sku": ("receiveStock", {"sku": "\0", "quantity": 1}),
    "an endless source": ("receiveStock", {"sku": "A", "quantity": 1, "source": "x" * 50_000}),
    "an endless order": ("reserveStock", {"sku": "A", "orderId": "x" * 50_000, "quantity": 1}),
    "an order with NUL": ("despatchStock", {"sku": "A", "orderId": "\0", "quantity": 1}),
    "2^31 - 1 received": ("receiveStock", {"sku": "A", "quantity": 2**31 - 1}),
    "-1 counted": ("countStock", {"sku": "A", "counted": -1}),
    "a negative level": ("setReorderLevel", {"sku": "A", "level": -(2**31)}),
    "an endless e-mail": (
        "registerCustomer",
        {"name": "A", "email": "a@" + "b" * 50_000, "address": ADDRESS},
    ),
    "a control character in a street": (
        "registerCustomer",
        {"name": "A", "email": "a@b", "address": {**ADDRESS, "street": "\x1b[2J"}},
    ),
    "an endless reason": ("cancelOrder", {"orderId": "order-x", "reason": "x" * 50_000}),
    "no id": ("receiveStock", {"sku": "A", "quantity": 1, "commandId": "1"}),
    "an operator as an id": ("receiveStock", {"sku": "A", "quantity": 1, "commandId": {"$gt": ""}}),
    "a version of 2^40": ("renameProduct", {"sku": "A", "name": "B", "expectedVersion": 2**40}),
    "an unknown member": ("receiveStock", {"sku": "A", "quantity": 1, "$set": {"x": 1}}),
}


def refused(body: Any, *, may_answer: bool = False) -> bool:
    """Whether it was refused, with codes of the closed lists."""
    if errors := body.get("errors"):
        codes = {error["extensions"]["code"] for error in errors}
        assert codes <= TYPED, body
        assert len(errors) <= 5
        return True
    (payload,) = body["data"].values()
    errors = payload.get("errors") if isinstance(payload, dict) else None
    return may_answer or bool(errors and all(error["code"] for error in errors))


async def quickly(ask: Any, *, may_answer: bool = False) -> None:
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        body = await ask()
        seconds.append(time.perf_counter() - begin)
        assert refused(body, may_answer=may_answer), body
        assert len(orjson.dumps(body)) < 200_000
    assert median(seconds) < SECONDS, seconds


async def over_socket(socket: Socket, document: str, variables: dict[str, Any]) -> Any:
    key = str(uuid4())
    await socket.subscribe(document, key, variables)
    message = await socket.heard()
    if message["type"] == "error":
        return {"errors": message["payload"]}
    assert (await socket.heard()) == {"id": key, "type": "complete"}
    return message["payload"]


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_hostile_documents_are_refused_over_http(staff: Client, name: str) -> None:
    document, variables = DOCUMENTS[name]

    async def ask() -> Any:
        answer = await staff.answer(document, **variables)
        assert answer.status < 500
        return answer.body

    await quickly(ask, may_answer=name in MAY_ANSWER)


async def test_hostile_documents_are_refused_over_a_socket(staff: Client) -> None:
    async with staff.socket() as socket:
        for name, (document, variables) in DOCUMENTS.items():

            async def ask(document: str = document, variables: Any = variables) -> Any:
                return await over_socket(socket, document, variables)

            await quickly(ask, may_answer=name in MAY_ANSWER)


@pytest.mark.parametrize("name", COMMANDS)
async def test_hostile_commands_are_refused(staff: Client, name: str) -> None:
    mutation, sent = COMMANDS[name]

    async def ask() -> Any:
        answer = await staff.send_raw(mutation, **sent)
        assert answer.status < 500
        return answer.body

    await quickly(ask)


async def test_nothing_hostile_was_recorded(operator: Client, shop: Shop) -> None:
    """The log's own reader meets every event, and every text in it is short."""
    sku = await shop.product(stock=1)
    async with operator.socket() as socket:
        await socket.subscribe('subscription { events(after: "0:0") { type data stream } }')
        while True:
            event = (await socket.next())["events"]
            assert len(orjson.dumps(event)) < 30_000
            if event["stream"] == f"stock_item-{sku}":
                return


@pytest.mark.parametrize(
    "text", ['{"$ne": ""}', "$ne", "a.b", ".*", "'; DROP", "\u202e", "😀" * 16]
)
async def test_odd_text_is_text(shop: Shop, text: str) -> None:
    sku = f"{new_sku()}{text}"[:64]
    fields = "product { sku name }"
    added = await shop.staff.done("addProduct", fields, sku=sku, name=text, price=money("1"))
    assert added["product"] == {"sku": sku, "name": text}
    found = await shop.staff.run(PRODUCTS, w={"sku": {"eq": sku}})
    assert found["products"]["nodes"] == [{"sku": sku}]
    others = await shop.staff.run(PRODUCTS, w={"sku": {"eq": text}})
    assert others["products"]["nodes"] == []


async def test_a_neighbour_is_not_hurt(shop: Shop) -> None:
    """Commands that arrive together are committed together; a bad one fails alone."""
    sku = await shop.product(stock=1)
    bad = order(*[line(quantity=2**31 - 1)] * 100)
    answers = await asyncio.gather(
        *(shop.staff.send_raw("placeOrder", **bad) for _ in range(10)),
        *(shop.staff.send_raw("receiveStock", sku=sku, quantity=1) for _ in range(10)),
    )
    assert [answer.codes for answer in answers] == [[]] * 20
    assert all(a.data["receiveStock"]["receipt"] for a in answers[10:])


# Requests that are none


BODIES: Final[dict[str, bytes]] = {
    "nothing": b"",
    "no JSON": b"{",
    "a number": b"1",
    "a text": b'"x"',
    "null": b"null",
    "a batch": b'[{"query": "{ __typename }"}]',
    "bad UTF-8": b'{"query": "\xff\xfe"}',
    "half a character": b'{"query": "{ product(sku: \\"\\ud800\\") { id } }"}',
    "NaN": b'{"query": "{ __typename }", "variables": {"n": NaN}}',
    "query as object": b'{"query": {"$gt": ""}}',
    "variables as list": b'{"query": "{ __typename }", "variables": []}',
    "operation as number": b'{"query": "{ __typename }", "operationName": 1}',
    "deep JSON": b'{"query": "{ __typename }", "variables": '
    + b"[" * 40_000
    + b"]" * 40_000
    + b"}",
    "NUL": b'{"query": "{ __typename }\\u0000"}',
    "101 KiB": b'{"query": "{ __typename }' + b" " * 101 * 1024 + b'"}',
    "gzip": b"\x1f\x8b\x08\x00",
}


@pytest.mark.parametrize("name", BODIES)
async def test_broken_bodies_are_refused(staff: Client, name: str) -> None:
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        answer: Answer = await staff.post(BODIES[name])
        seconds.append(time.perf_counter() - begin)
        assert answer.codes[0] in TYPED
        assert answer.status in (200, 400, 413)
    assert median(seconds) < SECONDS


async def test_a_body_that_is_too_big_is_413(staff: Client) -> None:
    answer = await staff.post(BODIES["101 KiB"])
    assert (answer.status, answer.codes) == (413, ["LIMIT_EXCEEDED"])


MESSAGES: Final = ["{", "1", "null", "[]", '"x"', '{"type": 1}', '{"type": "nonsense"}', "\0"]


@pytest.mark.parametrize("text", MESSAGES)
async def test_broken_messages_cost_the_socket(staff: Client, text: str) -> None:
    async with staff.socket() as socket:
        await socket.connection.send(text)
        assert await socket.close_code() == 4400


async def test_a_message_that_is_too_big_costs_the_socket(staff: Client) -> None:
    async with staff.socket() as socket:
        await socket.connection.send("x" * 200_000)
        assert await socket.close_code() == 1009


async def test_the_51st_subscription_of_a_socket_is_refused(staff: Client) -> None:
    async with staff.socket() as socket:
        for number in range(50):
            await socket.subscribe("subscription { notifications { position } }", str(number))
        await socket.subscribe("subscription { notifications { position } }", "one more")
        message = await socket.heard()
        assert (message["type"], message["id"]) == ("error", "one more")
        assert code_of(message["payload"]) == "LIMIT_EXCEEDED"


async def test_pages_of_other_origins_are_refused(staff: Client) -> None:
    with pytest.raises(Exception, match="403"):
        async with staff.socket(origin="https://evil.example"):
            pass


async def test_without_signing_in_there_is_nothing(staff: Client) -> None:
    url = staff.url.replace("http", "ws", 1)
    async with connect(url, subprotocols=["graphql-transport-ws"], proxy=None) as connection:  # type: ignore[list-item]  # a plain text is a subprotocol
        socket = Socket(connection)
        await socket.subscribe(command("receiveStock"))
        assert await socket.close_code() == 4401
