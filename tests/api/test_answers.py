"""Closing the answers of an operation closes what is under them, at once and in order."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from api.answers import answers
from infra.settings import Limits
from tests.api.live import Toy, ToyContext, principal, toy_executor


async def test_the_source_is_closed_before_its_context() -> None:
    toy, closed_first = Toy(), []

    @asynccontextmanager
    async def opening() -> AsyncIterator[ToyContext]:
        try:
            yield ToyContext(principal(), "trace", toy)
        finally:
            closed_first.append(toy.closed)

    executor = toy_executor(Limits())
    prepared = executor.prepare("subscription { endless }", None)
    async with aclosing(answers(executor, prepared, {}, opening())) as source:
        assert [(await anext(source))["data"]["endless"] for _ in range(2)] == ["1:x", "2:x"]
        assert (toy.opened, toy.closed) == (1, 0)
    assert closed_first == [1]
