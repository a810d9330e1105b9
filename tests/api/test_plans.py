"""What plans promise, against a small shop whose documents are in memory.

Each answer is compared with what graphql-core makes of the same operation without a plan.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Annotated, Any, cast

import pytest
import strawberry
from graphql import GraphQLError, GraphQLUnionType
from structlog.testing import capture_logs

from api.auth import Principal, Role
from api.errors import ApiError, ErrorCode, Refused
from api.execution import Answer, Executor, Prepared
from api.inputs import prepare_inputs
from api.joins import joined
from api.plans import Plan, kept
from infra import metrics
from infra.settings import Limits
from readmodels.projection import Projection

ANN = Principal("ann", frozenset({Role.STAFF}), None, 4e9)


@dataclass(frozen=True)
class Person:
    name: str | None


PEOPLE: Projection[Any] = Projection("people", 1, Person, (), lambda _: (), lambda *_: None)


@strawberry.interface
class Thing:
    id: strawberry.ID


@strawberry.type
class Cup(Thing):
    colour: str
    owner_id: strawberry.Private[str] = "p1"
    owner_name: str = joined(PEOPLE, lambda cup: cup.owner_id, lambda person: person.name)
    owner_known: bool | None = joined(PEOPLE, lambda cup: cup.owner_id, bool)


@strawberry.type
class Pot(Thing):
    litres: float


@strawberry.type
class Lid(Thing):
    wide: bool


Kitchen = Annotated[Cup | Pot | Lid, strawberry.union("Kitchen")]


def _things(count: int) -> list[Any]:
    return [
        Cup(id=strawberry.ID(f"c{n}"), colour="blue", owner_id=f"p{n % 3}") for n in range(count)
    ]


@dataclass
class Shop:
    """What resolvers get as their context."""

    principal: Principal = ANN
    trace_id: str = "t"
    people: dict[str, Person] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    things: list[Any] = field(default_factory=list)

    async def load_many(self, projection: Any, keys: Sequence[str]) -> list[Any]:
        assert projection is PEOPLE
        self.calls.append(list(keys))
        await asyncio.sleep(0)
        return [self.people.get(key) for key in keys]

    async def load(self, projection: Any, key: str) -> Any:
        [found] = await self.load_many(projection, (key,))
        return found

    def extensions(self) -> dict[str, Any]:
        return {}


Info = strawberry.Info[Shop, None]


@strawberry.type
class Query:
    @strawberry.field
    async def cups(self, count: int = 6) -> list[Cup]:
        return _things(count)

    @strawberry.field
    async def things(self, info: Info) -> list[Thing]:
        return info.context.things

    @strawberry.field
    async def kitchen(self, info: Info) -> list[Kitchen]:
        return info.context.things

    @strawberry.field
    async def forbidden(self) -> str | None:
        raise ApiError(ErrorCode.FORBIDDEN, "Not for you.")

    @strawberry.field
    async def broken(self) -> str | None:
        raise RuntimeError("secret of ours")

    @strawberry.field(extensions=[])
    def now(self) -> str:
        return "now"


@strawberry.type
class Sent:
    cup: Cup | None
    name: str


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def send(self, info: Info, name: str) -> Sent:
        info.context.sent.append(name)
        if name == "refused":
            raise ApiError(ErrorCode.BAD_REQUEST, "No.")
        nameless = cast(str, None if name == "nameless" else name)
        return Sent(cup=_things(1)[0], name=nameless)


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def made(self, count: int) -> AsyncGenerator[Cup, None]:
        for cup in _things(count):
            yield cup


SCHEMA = strawberry.Schema(Query, Mutation, Subscription, types=[Cup, Pot, Lid])
FIELDS = {
    "Query": ("cups", "things", "kitchen", "forbidden", "broken", "now"),
    "Mutation": ("send",),
    "Subscription": ("made",),
}
ALLOWED = {f"{kind}.{name}": frozenset(Role) for kind, names in FIELDS.items() for name in names}
PEOPLE_THERE = {f"p{n}": Person(f"Ann {n}") for n in range(3)}


@pytest.fixture
def executor() -> Executor:
    return Executor(SCHEMA, Limits(), introspection=True, allowed=ALLOWED)


def shop(*things: Any, **people: Person) -> Shop:
    return Shop(people={**PEOPLE_THERE, **people}, things=list(things))


def plan_of(executor: Executor, prepared: Prepared, **variables: Any) -> Plan | None:
    return prepared.plans.plan(executor._coerced(prepared, variables))


async def planned(executor: Executor, text: str, where: Shop, **variables: Any) -> Answer:
    """The answer by a plan, which is that of graphql-core."""
    prepared = executor.prepare(text, None)
    assert plan_of(executor, prepared, **variables) is not None
    by_core = replace(where, calls=[], sent=[])
    with capture_logs():
        answer = await executor.execute(prepared, variables, where)
        without = replace(prepared, plans=cast(Any, SimpleNamespace(plan=lambda _: None)))
        reference = await executor.execute(without, variables, by_core)
        assert {**answer, "errors": by_path(answer)} == {**reference, "errors": by_path(reference)}
    assert where.sent == by_core.sent
    return answer


def by_path(answer: Answer) -> list[Any]:
    return sorted(answer.get("errors", ()), key=lambda error: str(error["path"]))


class Counted:
    """How many operations ran in which way since."""

    def __init__(self) -> None:
        self._before = self._now()

    @staticmethod
    def _now() -> dict[str, float]:
        ways = ("planned", "failed", "not covered")
        return {way: metrics.OPERATIONS.labels(way)._value.get() for way in ways}

    def since(self) -> dict[str, float]:
        now = self._now()
        return {way: now[way] - before for way, before in self._before.items() if now[way] > before}


@pytest.fixture
def counted() -> Counted:
    return Counted()


# -- what is selected


async def test_a_switch_gives_other_answers_from_one_document(executor: Executor) -> None:
    text = """query ($a: Boolean!, $b: Boolean = false) {
      cups(count: 1) { id @include(if: $a) ...F @skip(if: $b) } }
      fragment F on Cup { colour }"""
    for a, b, keys in (
        (True, False, ["id", "colour"]),
        (True, True, ["id"]),
        (False, False, ["colour"]),
        (False, True, []),
    ):
        answer = await planned(executor, text, shop(), a=a, b=b)
        assert list(answer["data"]["cups"][0]) == keys
    prepared = executor.prepare(text, None)
    first = plan_of(executor, prepared, a=True)
    assert plan_of(executor, prepared, a=True, b=False) is first
    assert plan_of(executor, prepared, a=False) is not first


async def test_everything_may_be_skipped(executor: Executor) -> None:
    answer = await planned(executor, "{ cups @skip(if: true) { id } }", shop())
    assert answer["data"] == {}


async def test_the_same_key_twice_is_merged(executor: Executor) -> None:
    text = (
        "{ cups(count: 1) { id } cups(count: 1) { colour ...F id } } fragment F on Thing { x: id }"
    )
    answer = await planned(executor, text, shop())
    assert answer["data"]["cups"] == [{"id": "c0", "colour": "blue", "x": "c0"}]
    assert list(answer["data"]["cups"][0]) == ["id", "colour", "x"]


async def test_interfaces_and_unions(executor: Executor) -> None:
    cup, pot = _things(1)[0], Pot(id=strawberry.ID("p"), litres=0.8)
    text = """{
      things { __typename id ... on Cup { colour } ... on Pot { litres } }
      kitchen { kind: __typename ... on Thing { id } ... on Lid { wide } } }"""
    answer = await planned(executor, text, shop(cup, pot))
    assert answer["data"]["things"] == [
        {"__typename": "Cup", "id": "c0", "colour": "blue"},
        {"__typename": "Pot", "id": "p", "litres": 0.8},
    ]


async def test_a_plan_that_is_kept_meets_a_new_type(executor: Executor, counted: Counted) -> None:
    text = "{ things { id ... on Lid { wide } ... on Cup { ownerName } } }"
    prepared = executor.prepare(text, None)
    before = plan_of(executor, prepared)
    await executor.execute(prepared, {}, shop(*_things(1)))
    answer = await planned(executor, text, shop(Lid(id=strawberry.ID("l"), wide=True), *_things(1)))
    assert plan_of(executor, prepared) is before
    assert answer["data"]["things"][0] == {"id": "l", "wide": True}
    assert counted.since() == {"planned": 2, "not covered": 1}


async def test_an_object_of_no_type_of_the_union_fails_as_ever(executor: Executor) -> None:
    assert isinstance(SCHEMA._schema.type_map["Kitchen"], GraphQLUnionType)
    answer = await planned(executor, "{ kitchen { __typename } }", shop(Person("Ann")))
    assert answer["data"] is None
    assert [error["path"] for error in answer["errors"]] == [["kitchen", 0]]


# -- what is fetched


async def test_fields_of_a_list_that_join_are_one_call(executor: Executor) -> None:
    where = shop()
    text = "{ cups(count: 50) { ownerName again: ownerName ownerKnown } }"
    answer = await planned(executor, text, where)
    assert where.calls == [["p0", "p1", "p2"]]
    assert answer["data"]["cups"][4] == {
        "ownerName": "Ann 1",
        "again": "Ann 1",
        "ownerKnown": True,
    }


async def test_what_is_skipped_is_not_fetched(executor: Executor) -> None:
    where = shop()
    text = "query ($s: Boolean!) { cups { id ownerName @skip(if: $s) } }"
    await planned(executor, text, where, s=True)
    assert where.calls == []


# -- what is kept


@pytest.fixture
def emptied() -> Iterator[None]:
    kept.KEPT.clear()
    yield
    kept.KEPT.clear()


TOLD = "{ things { id ... on Cup { colour ownerName } } }"


@pytest.mark.usefixtures("emptied")
async def test_what_was_made_of_a_document_is_made_once(executor: Executor) -> None:
    where = shop(*_things(3))
    first = await planned(executor, TOLD, where)
    made = len(kept.KEPT)
    assert made == 6  # of each cup, and of each owner
    first["data"]["things"][0]["colour"] = "whoever has an answer may change it"
    again = await planned(executor, TOLD, where)
    assert len(kept.KEPT) == made
    assert [thing["colour"] for thing in again["data"]["things"]] == ["blue"] * 3


@pytest.mark.usefixtures("emptied")
async def test_another_document_is_another_answer(executor: Executor) -> None:
    where = shop(*_things(1))
    for name in ("Ann", "Bo", "Cy"):
        where.people["p0"] = Person(name)
        answer = await planned(executor, TOLD, where)
        assert answer["data"]["things"] == [{"id": "c0", "colour": "blue", "ownerName": name}]


@pytest.mark.usefixtures("emptied")
async def test_what_is_kept_is_bounded(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST", 10)
    for _ in range(5):
        await planned(executor, TOLD, shop(*_things(6)))
        assert 0 < len(kept.KEPT) <= 10


# -- what goes wrong


async def test_null_where_a_value_is_promised(executor: Executor, counted: Counted) -> None:
    where = shop(p1=Person(None))
    answer = await planned(executor, "{ cups(count: 2) { id ownerName } }", where)
    assert answer["data"] is None
    assert [error["path"] for error in answer["errors"]] == [["cups", 1, "ownerName"]]
    assert counted.since() == {"failed": 1, "not covered": 1}


async def test_one_root_field_that_fails_leaves_the_others(executor: Executor) -> None:
    answer = await planned(executor, "{ forbidden broken cups(count: 1) { id } }", shop())
    assert answer["data"] == {"forbidden": None, "broken": None, "cups": [{"id": "c0"}]}
    codes = {error["path"][0]: error["extensions"]["code"] for error in answer["errors"]}
    assert codes == {"forbidden": "FORBIDDEN", "broken": "INTERNAL"}


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ('mutation { a: send(name: "x") { name } b: send(name: "y") { name } }', ["x", "y"]),
        ('mutation { a: send(name: "nameless") { cup { ownerName } name } }', ["nameless"]),
        (
            'mutation { a: send(name: "x") { name } send(name: "refused") { name } }',
            ["x", "refused"],
        ),
        ('mutation { a: send(name: "refused") { name } send(name: "x") { name } }', ["refused"]),
        ('mutation { send(name: "x") { cup { id ownerName } name } }', ["x"]),
    ],
)
async def test_no_mutation_is_sent_twice(executor: Executor, text: str, sent: list[str]) -> None:
    """Not by a plan that fails half-way, either: what root fields came to is replayed."""
    where = shop(p0=Person(None))
    await planned(executor, text, where)
    assert where.sent == sent


async def test_how_operations_ran_is_counted(executor: Executor, counted: Counted) -> None:
    for text, variables in (
        ("{ cups { id } }", {}),
        ("{ forbidden }", {}),
        ("query ($n: Int) { cups(count: $n) { id } }", {"n": None}),
        ("query ($n: String!) { __type(name: $n) { name } }", {"n": "Cup"}),
    ):
        prepared = executor.prepare(text, None)
        await executor.execute(prepared, variables, shop())
    assert counted.since() == {"planned": 1, "failed": 2, "not covered": 1}


# -- variables


@strawberry.input(one_of=True)
class Either:
    a: int | None = strawberry.UNSET
    b: int | None = strawberry.UNSET


@strawberry.type
class EitherQuery:
    @strawberry.field
    async def either(self, one: Either | None = None) -> str:
        return "neither" if one is None else f"{one.a} {one.b}"


@pytest.fixture
def choosing() -> Executor:
    schema = strawberry.Schema(EitherQuery)
    prepare_inputs(schema)
    allowed = {"Query.either": frozenset(Role), "EitherQuery.either": frozenset(Role)}
    return Executor(schema, Limits(), introspection=True, allowed=allowed)


@pytest.mark.parametrize("one", [{}, {"a": None}, {"a": 1, "b": 2}, {"c": 1}, {"a": "x"}, 5])
async def test_one_of_several_that_is_not_one_is_refused(choosing: Executor, one: Any) -> None:
    prepared = choosing.prepare("query ($one: Either) { either(one: $one) }", None)
    with pytest.raises(Refused) as refused:
        await choosing.execute(prepared, {"one": one}, shop())
    assert refused.value.code is ErrorCode.VALIDATION_FAILED
    assert all(isinstance(error, GraphQLError) for error in refused.value.errors)


async def test_a_default_that_is_wrong_counts_where_it_is_needed(choosing: Executor) -> None:
    prepared = choosing.prepare("query ($one: Either = {}) { either(one: $one) }", None)
    answer = await choosing.execute(prepared, {"one": {"a": 1}}, shop())
    assert answer["data"]["either"].startswith("1 ")
    with pytest.raises(Refused) as refused:
        await choosing.execute(prepared, {}, shop())
    assert refused.value.code is ErrorCode.VALIDATION_FAILED


async def test_a_literal_that_is_wrong_is_the_clients_fault(choosing: Executor) -> None:
    prepared = choosing.prepare("{ either(one: { a: null }) }", None)
    answer = await choosing.execute(prepared, {}, shop())
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["VALIDATION_FAILED"]


# -- subscriptions


async def test_each_event_of_a_subscription_is_told_by_its_plan(executor: Executor) -> None:
    text = """subscription ($n: Boolean!) {
      made(count: 4) { id ownerName @include(if: $n) __typename } }"""
    where = shop(p1=Person(None))
    prepared = executor.prepare(text, None)
    assert plan_of(executor, prepared, n=True) is not None
    with capture_logs():
        answers = [one async for one in await executor.subscribe(prepared, {"n": True}, where)]
    assert answers[3]["data"] == {"made": {"id": "c3", "ownerName": "Ann 0", "__typename": "Cup"}}
    assert answers[1]["data"] is None  # and the others go on
    assert [error["path"] for error in answers[1]["errors"]] == [["made", "ownerName"]]
    assert where.calls[0] == ["p0"]
    fewer = [one async for one in await executor.subscribe(prepared, {"n": False}, shop())]
    assert fewer[0]["data"] == {"made": {"id": "c0", "__typename": "Cup"}}
