"""Thousands of generated documents, each answered by its plan and by graphql-core: no difference.

1. Answers are compared as the bytes they go out as. Only the order of errors is left open, and, of
   several root fields that each make the whole answer null, which of them is told: graphql-core
   tells of those that fail first.
2. Nothing moves meanwhile (see `furnished`). What depends on the present time is not asked for
   (see `twisted`), and a gauge of the process is no field of the schema.
3. Documents with switches are compared once more with every switch the other way.
4. Nearly all of the time goes into generating documents, and into validating them.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from random import Random
from types import SimpleNamespace
from typing import Any, Final, cast
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio
from graphql import (
    DocumentNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    create_source_event_stream,
    get_nullable_type,
)
from structlog.testing import capture_logs

from api.auth import Principal
from api.errors import ApiError, Refused
from api.execution import Answer, Prepared
from infra import metrics
from tests.api.furnished import ALICE, BOB, OPERATOR, STAFF, Furnished, furnished
from tests.api.generated import (
    MUTATIONS,
    NOT_REPEATABLE,
    REAL,
    SUBSCRIPTIONS,
    mutation_documents,
    query_documents,
    subscription_documents,
)
from tests.api.meanings import Meanings
from tests.api.twisted import Twisted, Twister

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXECUTED: Final = 5_000
WITH_DATA: Final = 0.6
WITH_ERRORS: Final = 0.05

NO_PLANS: Final = cast(Any, SimpleNamespace(plan=lambda _: None))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(
    mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Furnished]:
    name = f"test-{uuid4().hex}"
    async with furnished(mongodb_uri, name, tmp_path_factory.mktemp("plans")) as opened:
        yield opened
        await opened.runtime.mongo.run(lambda db: db.client.drop_database(name))


@dataclass
class Seen:
    """What came of it."""

    counted: Counter[str] = field(default_factory=Counter)
    different: set[bytes] = field(default_factory=set)
    differences: list[str] = field(default_factory=list)

    def share(self, what: str) -> float:
        return self.counted[what] / max(self.counted["executed"], 1)

    def __str__(self) -> str:
        shares = {name: f"{self.share(name):.1%}" for name in ("with data", "with errors")}
        return f"{dict(self.counted)} {shares}"


@contextmanager
def counting(seen: Seen) -> Iterator[None]:
    """How operations were run meanwhile."""
    names = ("planned", "failed", "not covered")
    counters = {name: metrics.OPERATIONS.labels(name) for name in names}
    before = {name: counter._value.get() for name, counter in counters.items()}
    yield
    for name, counter in counters.items():
        seen.counted[name] += int(counter._value.get() - before[name])


class Trial:
    """Answers a document both ways."""

    def __init__(self, shop: Furnished) -> None:
        self._shop, self.seen = shop, Seen()
        self._lenient = _with_nullable_roots(REAL)

    async def compare(self, sent: Twisted, who: Principal, *, first: bool = False) -> None:
        """`first`: send it once before, so that all that are compared are repeats."""
        executor, counted = self._shop.executor, self.seen.counted
        counted["documents"] += 1
        try:
            prepared = executor.prepare(sent.text, None)
            executor.check(prepared, sent.variables, who)
        except ApiError:
            counted["refused"] += 1
            return
        if first:
            await self._answer(prepared, sent, who)
            await self._shop.projected()
        with counting(self.seen):
            planned = await self._answer(prepared, sent, who)
        plain = replace(prepared, plans=NO_PLANS)
        reference = await self._answer(plain, sent, who)
        if not _same(planned, reference) and not await self._told_another(
            planned, reference, plain, sent, who
        ):
            texts = (sent.text, sent.variables, _bytes(planned), _bytes(reference))
            self.seen.differences.append("\n".join(map(str, texts)))
        if "refused" in planned:
            counted["refused"] += 1
            return
        counted["executed"] += 1
        self.seen.different.add(orjson.dumps([sent.text, sent.variables]))
        counted["with data"] += _tells(planned["data"])
        counted["with errors"] += "errors" in planned

    async def _answer(self, prepared: Prepared, sent: Twisted, who: Principal) -> Answer:
        async with self._shop.runtime.context(who, "trace") as context:
            try:
                return await self._shop.executor.execute(prepared, sent.variables, context)
            except Refused as refused:
                return {"refused": [str(error) for error in refused.errors]}

    async def _told_another(
        self, one: Answer, other: Answer, plain: Prepared, sent: Twisted, who: Principal
    ) -> bool:
        """Whether both tell of root fields that fail and may not be null, but of different ones."""
        if len(plain.root_fields) < 2 or one.get("data", 0) or other.get("data", 0):
            return False
        self._shop.executor._schema = self._lenient
        all_of_them = await self._answer(plain, sent, who)
        self._shop.executor._schema = REAL
        self.seen.counted["another told"] += 1
        told = [*one["errors"], *other["errors"]]
        return all(error in all_of_them["errors"] for error in told)


def _with_nullable_roots(schema: GraphQLSchema) -> GraphQLSchema:
    """The same schema, in which each root field of a query can fail without the others."""
    known = schema.to_kwargs()
    query = known["query"]
    assert query is not None
    fields = {
        name: GraphQLField(
            get_nullable_type(one.type), one.args, one.resolve, extensions=one.extensions
        )
        for name, one in query.fields.items()
    }
    known["query"] = GraphQLObjectType(query.name, fields)
    known["types"] = tuple(kind for kind in known["types"] or () if kind is not query)
    return GraphQLSchema(**known)


def _same(one: Answer, other: Answer) -> bool:
    return _bytes(one) == _bytes(other)


def _bytes(answer: Answer) -> bytes:
    """As it goes out, but with the errors in an order of ours."""
    errors = sorted(answer.get("errors", ()), key=orjson.dumps)
    return orjson.dumps({**answer, "errors": errors} if errors else answer)


def _tells(value: Any) -> bool:
    """Whether there is anything in it but names of types."""
    if isinstance(value, dict):
        return any(_tells(one) for name, one in value.items() if name != "__typename")
    if isinstance(value, list):
        return any(map(_tells, value))
    return value is not None


def sent_by_somebody(
    shop: Furnished, random: Random, documents: Sequence[DocumentNode], kind: str
) -> tuple[Twisted, Principal]:
    """What is sent of these documents, and by whom: somebody who may."""
    for who in (random.choice((STAFF, OPERATOR, OPERATOR, ALICE, BOB)), OPERATOR):
        own = (who.customer_id,) if who.customer_id else ()
        sent = Twister(REAL, random, Meanings(shop.known, own)).twist(documents)
        if all(shop.executor.may(who, f"{kind}.{name}") for name in sent.root_fields):
            break
    return sent, who


# What graphql-core has begun it leaves lying where a sibling fails at once: told in two ways.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <coroutine object:pytest.PytestUnraisableExceptionWarning"
)
async def test_queries(shop: Furnished, record_property: Callable[[str, object], None]) -> None:
    documents = list(query_documents(EXECUTED + EXECUTED // 7))
    trial, again = Trial(shop), Trial(shop)
    with capture_logs():
        for number, document in enumerate(documents):
            random = Random(number)
            more = [random.choice(documents)] if random.random() < 0.3 else []
            asked = [document, *more]
            sent, who = sent_by_somebody(shop, random, asked, "Query")
            await trial.compare(sent, who)
            if switched := sent.switched():
                await again.compare(switched, who)
    assert again.seen.differences == [], again.seen.differences[0]
    seen = trial.seen
    record_property("documents", str(seen))
    print(seen)
    assert seen.differences == [], f"{len(seen.differences)} of {seen}:\n{seen.differences[0]}"
    assert seen.counted["executed"] >= EXECUTED, seen
    assert len(seen.different) >= EXECUTED, len(seen.different)
    assert seen.share("with data") >= WITH_DATA, seen
    assert seen.share("with errors") >= WITH_ERRORS, seen


async def test_a_past_beside_what_fails(shop: Furnished) -> None:
    """What is below a root field is read from where that was read, by graphql-core as well."""
    text = """{
      order(id: "nobody", asOf: { version: 9 }) { id }
      then: orders(first: 3, last: 3, asOf: { position: "0:45" }) {
        nodes { lines { progress } timeline { event } } }
      now: orders(last: 3) { nodes { lines { progress } timeline { event } } }
    }"""
    trial = Trial(shop)
    await trial.compare(Twisted(text, {}, frozenset()), STAFF)
    assert trial.seen.differences == []
    assert trial.seen.counted["failed"] == 1
    answer = await shop.answer(text, STAFF, {})
    assert answer["data"]["then"] != answer["data"]["now"]


async def test_mutations(shop: Furnished, record_property: Callable[[str, object], None]) -> None:
    """Commands, each sent before; and what is not repeatable, where it can do nothing."""
    trial = Trial(shop)
    unknown = replace(shop.known, branches=("no-such-branch",), projections=("no_such",))
    nowhere = replace(shop, known=unknown)
    for areas, count, there, first in (
        (MUTATIONS, 240, shop, True),
        (NOT_REPEATABLE, 60, nowhere, False),
    ):
        with capture_logs():
            for number, document in enumerate(mutation_documents(areas, count)):
                random = Random(number)
                sent, who = sent_by_somebody(there, random, [document], "Mutation")
                await trial.compare(sent, who, first=first)
    seen = trial.seen
    record_property("documents", str(seen))
    print(seen)
    assert seen.differences == [], f"{len(seen.differences)} of {seen}:\n{seen.differences[0]}"
    assert seen.counted["executed"] >= 250, seen
    assert seen.share("with data") >= 0.4, seen  # who is refused need not have asked why


async def payloads(shop: Furnished, name: str, arguments: str, most: int) -> list[Any]:
    """What a subscription's source gives at once."""
    text = f"subscription {{ {name}({arguments}) {{ __typename }} }}"
    executor = shop.executor
    async with shop.runtime.context(OPERATOR, "trace") as context:
        source: Any = create_source_event_stream(
            executor._start(executor.prepare(text, None), {}, context)
        )
        found = []
        async with aclosing(await source if isawaitable(source) else source) as events:
            async with asyncio.timeout(20):
                async for event in events:
                    found.append(event)
                    if len(found) == most:
                        break
        return found


SOURCES: Final = {
    "orderChanged": ('after: "0:0"', 14),
    "notifications": ('after: "0:0"', 20),
    "events": ('after: "0:0"', 60),
    "rebuildProgress": ('projection: "payments"', 1),
}


@pytest.mark.parametrize("name", SUBSCRIPTIONS)
async def test_subscriptions(shop: Furnished, name: str) -> None:
    """What happened, told by a plan and by graphql-core."""
    arguments, most = SOURCES[name]
    happened = await payloads(shop, name, arguments, most)
    if "after" in arguments:  # and what cannot be told
        happened += await payloads(shop, name, 'after: "0:99999"', 1)
    executor, compared = shop.executor, 0
    for number, document in enumerate(subscription_documents(name, 60)):
        random = Random(number)
        sent = Twister(REAL, random, Meanings(shop.known)).twist([document])
        try:
            prepared = executor.prepare(sent.text, None)
            values = executor._coerced(prepared, sent.variables)
        except Refused:
            continue
        plan = prepared.plans.plan(values)
        for event in (happened[-1], *random.choices(happened, k=3)):
            answers = []
            for way in (plan, None):
                async with shop.runtime.context(OPERATOR, "trace") as context:
                    execution = executor._start(prepared, sent.variables, context)
                    data, errors = await executor._event(execution, way, event, context)
                    answers.append(executor._answer(data, errors, 0, context))
            assert _bytes(answers[0]) == _bytes(answers[1]), (sent, event)
            compared += plan is not None and _tells(answers[0]["data"])
    assert compared >= 100
