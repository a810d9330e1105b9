"""Identical subscriptions share what they cost, and nothing else: whoever is slow, comes late or
goes is told everything, once and in order."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import time
from typing import Any, Final
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from api.auth import Principal, Role
from api.execution import Executor
from api.runtime import Runtime, open_runtime
from api.schema import RIGHTS, SCHEMA
from api.sharing import Sharing, Subscription
from domain.money import Money
from domain.order import CancelOrder
from domain.product import AddProduct
from infra.answers import Request
from infra.codec import now
from infra.settings import Limits, Settings
from tests.api.live import Toy, ToyContext, eventually, toy_executor
from tests.bench.samples import catalogue, orders, request

EVENTS: Final = "subscription ($after: Position) { events(after: $after) { position } }"
CHANGES: Final = """subscription ($after: Position) {
  orderChanged(after: $after) { position order { id status } } }"""
STAFF: Final = Principal("ben", frozenset({Role.STAFF}), None, time() + 3_600)
OPERATOR: Final = Principal("ada", frozenset({Role.OPERATOR}), None, time() + 3_600)


class Gone(Exception):
    """The client has left."""


@dataclass(eq=False)
class Reader:
    """A client: `takes` says whether it can take a message at once, `waits` for how long it has to
    be waited for when not."""

    takes: Callable[[], bool] = lambda: True
    waits: Callable[[], float] = lambda: 0.0
    told: list[int] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)

    def take(self, payload: bytes) -> bool:
        if self.takes():
            self._hear(payload)
            return True
        return False

    async def send(self, payload: bytes) -> None:
        await asyncio.sleep(self.waits())
        self._hear(payload)

    def _hear(self, payload: bytes) -> None:
        self.payloads.append(payload)
        (change,) = orjson.loads(payload)["data"].values()
        self.told.append(int(change["position"].partition(":")[2]))

    @property
    def states(self) -> dict[str, str]:
        """The status of each order, as told last."""
        changes = [orjson.loads(each)["data"]["orderChanged"]["order"] for each in self.payloads]
        return {order["id"]: order["status"] for order in changes}


@dataclass(eq=False)
class Deaf(Reader):
    """Keeps what it hears, whatever it is."""

    heard: list[bytes] = field(default_factory=list)

    def _hear(self, payload: bytes) -> None:
        self.heard.append(payload)


@dataclass
class House:
    """A process without its web server."""

    runtime: Runtime
    sharing: Sharing
    executor: Executor

    @asynccontextmanager
    async def told(self, *readers: Reader, **variables: Any) -> AsyncIterator[None]:
        tasks = [self.begin(reader, **variables) for reader in readers]
        try:
            yield
        finally:
            await end(*tasks)

    def begin(
        self,
        reader: Reader,
        document: str = EVENTS,
        principal: Principal = OPERATOR,
        **variables: Any,
    ) -> asyncio.Task[None]:
        prepared = self.executor.prepare(document, None)
        asked = Subscription(prepared, variables, principal, "trace")
        return asyncio.create_task(self.sharing.tell(asked, reader))

    async def append(self, count: int = 1) -> int:
        """So many pairs of events; the position of the last one."""
        answers = [await self.runtime.handler.handle(product()) for _ in range(count)]
        return answers[-1].position

    @property
    def cursors(self) -> int:
        return sum(window.cursors for window in self.runtime.changes._windows.values())

    @property
    def groups(self) -> list[Any]:
        return list(self.sharing._groups.values())

    def together(self, count: int) -> bool:
        """Whether so many are told together."""
        return [len(g.together.members) if g.together else 0 for g in self.groups] == [count]


async def end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def product() -> Request:
    price = Money(amount=1, currency="EUR")
    command = AddProduct(sku=str(uuid4()), name="Tea", price=price, tax=0, at=now())
    return Request(command=command, command_id=str(uuid4()), actor="ada")


def executions() -> float:
    return REGISTRY.get_sample_value("tidings_subscription_executions_total") or 0.0


@pytest_asyncio.fixture
async def house(mongodb_uri: str, database_name: str, tmp_path: Path) -> AsyncIterator[House]:
    settings = Settings(
        mongodb_uri=mongodb_uri, database=database_name, home=tmp_path, sampler_share=0
    )
    executor = Executor(SCHEMA, settings.limits, introspection=False, allowed=RIGHTS)
    async with open_runtime(settings) as runtime:
        house = House(runtime, Sharing(executor, runtime.context), executor)
        yield house
        await eventually(lambda: (house.cursors, house.groups) == (0, []))


# -- what it costs


async def test_a_change_is_executed_once_for_all(house: House) -> None:
    readers = [Reader() for _ in range(1_000)]
    async with house.told(*readers):
        await eventually(lambda: house.together(1_000))
        assert house.cursors == 1
        before = executions()
        last = await house.append(5)
        await eventually(lambda: all(reader.told[-1:] == [last] for reader in readers))
        assert executions() - before == 10
    assert {tuple(reader.told) for reader in readers} == {tuple(range(last - 9, last + 1))}
    assert len({id(reader.payloads[-1]) for reader in readers}) == 1  # the very same bytes


async def test_one_alone_begins_nothing_twice(house: House) -> None:
    reader = Reader()
    async with house.told(reader):
        await eventually(lambda: house.cursors == 1)
        last = await house.append()
        await eventually(lambda: reader.told == [last - 1, last])
        assert house.together(0)


async def test_company_comes_and_goes(house: House) -> None:
    first, second = Reader(), Reader()
    async with house.told(first):
        await eventually(lambda: house.cursors == 1)
        async with house.told(second):
            await eventually(lambda: house.together(2))
            both = await house.append()
            await eventually(lambda: first.told == second.told == [both - 1, both])
        last = await house.append()
        await eventually(lambda: first.told == [both - 1, both, last - 1, last])
    assert second.told == [both - 1, both]


# -- who shares


@pytest.mark.parametrize(
    "other",
    [
        replace(OPERATOR, roles=frozenset({Role.OPERATOR, Role.STAFF})),
        replace(OPERATOR, customer_id="customer-1"),
    ],
)
async def test_other_rights_share_nothing(house: House, other: Principal) -> None:
    tasks = [house.begin(Reader(), principal=principal) for principal in (OPERATOR, other)]
    await eventually(lambda: house.cursors == 2)
    assert [group.size for group in house.groups] == [1, 1]
    await end(*tasks)


async def test_the_same_rights_of_another_subject_share(house: House) -> None:
    other = replace(OPERATOR, subject="bob", expires_at=time() + 60)
    tasks = [house.begin(Reader(), principal=principal) for principal in (OPERATOR, other)]
    await eventually(lambda: house.together(2))
    await end(*tasks)


async def test_other_variables_share_nothing(house: House) -> None:
    document = "subscription ($types: [String!]) { events(types: $types) { position } }"
    tasks = [house.begin(Reader(), document, types=[name]) for name in ("ProductAdded", "Other")]
    await eventually(lambda: house.cursors == 2)
    assert [group.size for group in house.groups] == [1, 1]
    await end(*tasks)


# -- where they begin


async def test_where_a_client_begins_does_not_matter_once_it_has_caught_up(house: House) -> None:
    last = await house.append(10)
    readers = {after: Reader() for after in (3, 7, last)}
    tasks = [house.begin(reader, after=f"0:{after}") for after, reader in readers.items()]
    await eventually(lambda: house.together(3))
    newest = await house.append(3)
    await eventually(lambda: all(reader.told[-1:] == [newest] for reader in readers.values()))
    for after, reader in readers.items():
        assert reader.told == list(range(after + 1, newest + 1))
    await end(*tasks)


async def test_whoever_joins_others_is_told_what_happens_from_now_on(house: House) -> None:
    async with house.told(Reader(), Reader()):
        await eventually(lambda: house.together(2))
        for _ in range(10):
            before, late = await house.append(3), Reader()
            await eventually(lambda: house.runtime.reads.position >= before)  # noqa: B023
            task = house.begin(late)
            await eventually(lambda: house.together(3))
            last = await house.append()
            await eventually(lambda: late.told[-1:] == [last])  # noqa: B023
            assert late.told == [last - 1, last]
            await end(task)


# -- slow ones, and the seam


async def test_a_client_that_is_stuck_holds_up_nobody(house: House) -> None:
    free = asyncio.Event()

    class Stuck(Reader):
        async def send(self, payload: bytes) -> None:
            await free.wait()
            await super().send(payload)

    stuck, others = Stuck(takes=free.is_set), [Reader() for _ in range(3)]
    async with house.told(stuck, *others):
        await eventually(lambda: house.together(4))
        last = await house.append(20)
        await eventually(lambda: all(reader.told[-1:] == [last] for reader in others))
        assert stuck.told == []
        assert house.together(3)
        free.set()
        await eventually(lambda: stuck.told == others[0].told)
        await eventually(lambda: house.together(4))


@pytest.mark.parametrize(("seed", "window"), [(0, 5_000), (1, 5_000), (2, 12)])
async def test_nothing_is_missed_or_told_twice_at_any_seam(
    house: House, seed: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that cannot always take a message, go, and come back where they were."""
    monkeypatch.setattr("api.sharing.AT_ONCE", 3)
    monkeypatch.setattr("infra.cursors.WINDOW", window)
    chance = random.Random(seed)
    first = await house.append(5)
    readers = [
        Reader(lambda: chance.random() < 0.8, lambda: chance.choice((0.0, 0.0, 0.02)))
        for _ in range(12)
    ]
    running = True

    async def come_and_go(reader: Reader) -> None:
        while running:
            after = reader.told[-1] if reader.told else first
            task = house.begin(reader, after=f"0:{after}")
            await asyncio.sleep(chance.random() * 0.3)
            await end(task)

    async def write() -> None:
        for _ in range(60):
            await house.append()
            await asyncio.sleep(chance.random() * 0.01)

    coming = [asyncio.create_task(come_and_go(reader)) for reader in readers]
    await asyncio.gather(*(write() for _ in range(3)))
    running = False
    await asyncio.gather(*coming)
    last = await house.append()
    for reader in readers:
        reader.takes = lambda: True
    tasks = [house.begin(reader, after=f"0:{reader.told[-1]}") for reader in readers]
    await eventually(lambda: all(reader.told[-1] == last for reader in readers))
    await end(*tasks)
    for reader in readers:
        assert reader.told == list(range(first + 1, last + 1))


async def test_everybody_sees_the_latest_state_of_each_order(house: House) -> None:
    """Not every state: of those that wait together the last one is told."""
    chance, handle, new = random.Random(7), house.runtime.handler.handle, orders()
    await asyncio.gather(*(handle(each) for each in catalogue()))
    first = await house.append()
    readers = [
        Reader(lambda: chance.random() < 0.7, lambda: chance.choice((0.0, 0.05))) for _ in range(8)
    ]
    tasks = [house.begin(reader, CHANGES, STAFF, after=f"0:{first}") for reader in readers]
    expected: dict[str, str] = {}
    for _ in range(60):
        order = next(new)
        expected[order.order_id] = "PLACED"
        await handle(request(order))
        if placed := [each for each, status in expected.items() if status == "PLACED"]:
            cancelled = chance.choice(placed)
            expected[cancelled] = "CANCELLED"
            await handle(request(CancelOrder(order_id=cancelled, reason="tea", at=now())))
    await eventually(lambda: all(reader.states == expected for reader in readers))
    await end(*tasks)
    for reader in readers:
        assert reader.told == sorted(set(reader.told))


# -- the end


async def test_the_source_is_closed_before_its_context() -> None:
    toy, closed_first = Toy(), []

    @asynccontextmanager
    async def opening(*_: Any) -> AsyncIterator[ToyContext]:
        try:
            yield ToyContext(OPERATOR, "trace", toy)
        finally:
            closed_first.append(toy.closed)

    executor = toy_executor(Limits())
    asked = Subscription(executor.prepare("subscription { silent }", None), {}, OPERATOR, "trace")
    task = asyncio.create_task(Sharing(executor, opening).tell(asked, Deaf()))
    await eventually(lambda: toy.opened == 1)
    await end(task)
    assert closed_first == [1]


async def test_a_client_that_fails_ends_alone(house: House) -> None:
    class Leaving(Reader):
        async def send(self, _: bytes) -> None:
            raise Gone

    leaving, other = Leaving(takes=lambda: False), Reader()
    tasks = [house.begin(leaving), house.begin(other)]
    await eventually(lambda: house.together(2))
    last = await house.append()
    with pytest.raises(Gone):
        await tasks[0]
    await eventually(lambda: other.told == [last - 1, last])
    await end(tasks[1])


async def test_a_source_that_fails_tells_each_and_is_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [Deaf() for _ in range(2)]
    tasks = [house.begin(reader) for reader in readers]
    await eventually(lambda: house.together(2))

    async def broken(_: Any) -> None:
        raise Gone

    monkeypatch.setattr("infra.cursors.Cursor._look", broken)
    await house.append()
    await asyncio.gather(*tasks)
    for reader in readers:
        last = orjson.loads(reader.heard[-1])
        assert last["data"] is None
        assert last["errors"][0]["extensions"]["code"] == "INTERNAL"


async def test_what_breaks_for_all_is_told_to_each(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [house.begin(Reader()) for _ in range(2)]
    await eventually(lambda: house.together(2))

    async def broken(*_: Any) -> None:
        raise Gone

    monkeypatch.setattr("api.sharing._Together.hand_out", broken)
    await house.append()
    for task in tasks:
        with pytest.raises(Gone):
            await task
