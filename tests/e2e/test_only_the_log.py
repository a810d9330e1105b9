"""The log is all there is: whatever else is deleted is made again, and every answer is the same.

1. What remains is the log: its events, the answers to the commands that made them, its counters.
2. What goes is not only what queries read. Reactions lose how far they were, their stories, their
   deadlines and their outbox, and are told everything again. Nothing comes of that a second time:
   what they ask for has the ids of then, and those commands have been answered.
"""

from pathlib import Path
from typing import Any, Final

from api.auth import Role
from api.reacting import FOLLOWERS
from infra.log import COMMANDS, COUNTERS, EVENTS
from infra.snapshots import FEW, FOLDED, SNAPSHOTS
from tests.e2e.client import Client, anonymous
from tests.e2e.company import Company, company
from tests.e2e.server import eventually
from tests.e2e.shop import Shop
from tests.e2e.test_as_of import LISTS, SUMS, THE_THREE, WITH_ALL_BELOW
from tests.e2e.test_flow import FLOW, REAL
from tests.e2e.test_history import HISTORY
from tests.e2e.trade import Trade

ORDERS: Final = 44
BOTH: Final = (Role.STAFF, Role.OPERATOR)
THE_LOG: Final = frozenset({EVENTS, COMMANDS, COUNTERS})

INBOX: Final = """query ($id: ID!) { inbox(customerId: $id, first: 100) {
    at customerId kind orderId position text gap { since to } } }"""

BRANCH: Final = (
    "mutation ($input: CreateBranchInput!) { createBranch(input: $input) { branch { id } } }"
)

ONE: Final = """query ($id: ID!) { order(id: $id) {
    id status version total { amount currency } timeline { position event actor }
    lines { number quantity progress } } }"""


async def answers(client: Client, trade: Trade, correlations: list[str]) -> dict[str, Any]:
    """What is said to everything that can be asked, with the position that it is said of."""
    asked: list[tuple[str, dict[str, str]]] = [
        (document, {}) for document in (THE_THREE, WITH_ALL_BELOW, LISTS, SUMS, REAL)
    ]
    asked += [(INBOX, {"id": customer_id}) for customer_id in trade.customers]
    asked += [(document, {"id": order}) for order in trade.plans for document in (ONE, HISTORY)]
    asked += [(FLOW, {"id": correlation}) for correlation in correlations]
    found = {}
    for document, variables in asked:
        answer = await client.answer(document, **variables)
        found[f"{document} {variables}"] = (answer.position, answer.data)
    return found


def rest(whole: Company) -> None:
    """Wait until there are followers, and nothing is under way."""
    names = ("main", *FOLLOWERS)
    eventually(lambda: all(whole.position_of(name) is not None for name in names))
    eventually(whole.is_at_rest)


def log_of(whole: Company) -> list[Any]:
    """All its events."""
    with whole.database() as db:
        return list(db[EVENTS].find(sort=[("_id", 1)]))


def drop_all_but_the_log(whole: Company) -> set[str]:
    """Answers with what that was."""
    with whole.database() as db:
        gone = {name for name in db.list_collection_names() if name not in THE_LOG}
        for name in gone:
            db.drop_collection(name)
        return gone


async def leave_traces(whole: Company, client: Client) -> None:
    """A second generation, one of the past, a branch, and a snapshot of a long stream."""
    assert whole.command("rebuild", "order_list").returncode == 0
    await client.run(THE_THREE, asOf={"position": "0:200"})
    await client.run(BRANCH, input={"name": "another past"})
    for _ in range(FOLDED + FEW):
        await client.done("receiveStock", sku="LONG", quantity=1, source="supplier")
    whole.api.kill()
    whole.start(whole.api)
    await client.done("receiveStock", sku="LONG", quantity=1, source="supplier")
    with whole.database() as db:
        eventually(lambda: db[SNAPSHOTS].find_one() is not None)


async def test_every_answer_is_the_same_after_all_but_the_log_was_deleted(
    mongodb_uri: str, tmp_path: Path
) -> None:
    with company(mongodb_uri, tmp_path, "--declines", "0.2", "--delay-ms", "5") as whole:
        whole.start(*whole.parts)
        async with anonymous(whole.graphql, whole.home) as nobody:
            client = nobody.signed_in(BOTH)
            trade = Trade(Shop(client))
            await trade.open()
            await trade.run(ORDERS)
            await leave_traces(whole, client)
            rest(whole)
            history, book = log_of(whole), whole.book()
            placed = [event for event in history if event["type"] == "OrderPlaced"]
            correlations = [event["meta"]["correlation_id"] for event in placed]
            before = await answers(client, trade, correlations)
            assert {position for position, _ in before.values()} == {f"0:{len(history)}"}
            for part in (whole.reactor, whole.projector, whole.api):
                part.stop()
            gone = drop_all_but_the_log(whole)
            assert gone >= {"checkpoints", "outbox", "deadlines", "stories_order_to_cash"}
            assert gone >= {"snapshots", "rm_order_list_2", "rebuilds", "pasts", "branches"}
            whole.start(whole.api, whole.projector, whole.reactor)
            rest(whole)
            after = await answers(client, trade, correlations)
            assert after == before
            assert log_of(whole) == history
            assert whole.book() == book  # the provider has not heard anything at all
        checked = whole.command("verify")
        assert checked.returncode == 0, checked.stdout
