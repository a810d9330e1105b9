"""Calls shared by those who ask at the same time."""

import asyncio

import pytest

from infra import together as module
from infra.together import Found, Together


class Store:
    """Answers each call when it is let go; remembers what was asked for."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.open = asyncio.Event()

    async def fetch(self, keys: list[str]) -> Found:
        self.calls.append(keys)
        await self.open.wait()
        if "bad" in keys:
            raise LookupError("bad")
        return {key: key.upper() for key in keys if key != "none"}


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_alone_is_served_at_once() -> None:
    store, shared = Store(), Together()
    store.open.set()
    assert await shared.get("p", ["a", "none", "a"], store.fetch) == {"a": "A"}
    assert store.calls == [["a", "none"]]


async def test_who_asks_meanwhile_shares_the_next_call() -> None:
    store, shared = Store(), Together()
    first = asyncio.create_task(shared.get("p", ["a"], store.fetch))
    await turns()
    later = [asyncio.create_task(shared.get("p", keys, store.fetch)) for keys in ("bc", "cd")]
    other = asyncio.create_task(shared.get("q", ["a"], store.fetch))
    await turns()
    store.open.set()
    assert await first == {"a": "A"}
    assert await asyncio.gather(*later) == [{"b": "B", "c": "C"}, {"c": "C", "d": "D"}]
    assert await other == {"a": "A"}
    assert store.calls == [["a"], ["a"], ["b", "c", "d"]]


async def test_a_failure_is_told_to_all_who_shared_it_and_to_nobody_else() -> None:
    store, shared = Store(), Together()
    bad = [asyncio.create_task(shared.get("p", keys, store.fetch)) for keys in (["bad"], ["a"])]
    await turns()
    good = asyncio.create_task(shared.get("p", ["b"], store.fetch))
    await turns()
    store.open.set()
    assert [type(e) for e in await asyncio.gather(*bad, return_exceptions=True)] == [
        LookupError
    ] * 2
    assert await good == {"b": "B"}


async def test_who_goes_away_takes_nothing_from_the_others() -> None:
    store, shared = Store(), Together()
    first, second = (asyncio.create_task(shared.get("p", [k], store.fetch)) for k in "ab")
    await turns()
    first.cancel()
    await turns()
    store.open.set()
    assert await second == {"b": "B"}


async def test_many_keys_are_a_call_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEYS", 2)
    store, shared = Store(), Together()
    store.open.set()
    found = await asyncio.gather(
        shared.get("p", "ab", store.fetch), shared.get("p", "bc", store.fetch)
    )
    assert list(found) == [{"a": "A", "b": "B"}, {"b": "B", "c": "C"}]
    assert sorted(store.calls) == [["a", "b"], ["b", "c"]]
