"""Leases on a real MongoDB: one holder at a time, and no word from one that was overtaken."""

import asyncio

import pytest

from infra.leases import Lease, LeaseLost
from infra.mongo import Document, Mongo

WORK = "works"
SHORT = 0.3


def lease(mongo: Mongo, seconds: float = 5.0) -> Lease:
    """Of a process of its own."""
    return Lease(mongo, WORK, "digging", seconds)


async def taken(lease: Lease) -> Document:
    found = await lease.acquire()
    assert found is not None
    return found


async def written(mongo: Mongo) -> Document:
    found = await mongo.run(lambda db: db[WORK].find_one({"_id": "digging"}))
    assert found is not None
    return found


async def test_of_many_that_want_it_one_gets_it(mongo: Mongo) -> None:
    all_of_them = [lease(mongo) for _ in range(8)]
    got = await asyncio.gather(*(each.acquire() for each in all_of_them))
    (winner,) = [each for each, found in zip(all_of_them, got, strict=True) if found]
    await winner.write(depth=3)
    assert [await each.acquire() for each in all_of_them if each is not winner] == [None] * 7
    await winner.release(depth=4)
    after = await taken(next(each for each in all_of_them if each is not winner))
    assert after["depth"] == 4


async def test_it_lasts_as_long_as_it_is_renewed(mongo: Mongo) -> None:
    holder, other = lease(mongo, SHORT), lease(mongo, SHORT)
    await taken(holder)
    for _ in range(4):
        await asyncio.sleep(SHORT / 2)
        await holder.write()
        assert await other.acquire() is None
        assert not holder.lapsed
    await asyncio.sleep(SHORT)
    assert holder.lapsed
    assert await other.acquire() is not None


async def test_one_that_was_overtaken_changes_nothing(mongo: Mongo) -> None:
    slow, quick = lease(mongo, SHORT), lease(mongo)
    token = (await taken(slow))["token"]
    await slow.write(depth=1)
    await asyncio.sleep(SHORT)
    assert (await taken(quick))["token"] > token
    await quick.write(depth=7)
    before = await written(mongo)
    with pytest.raises(LeaseLost):
        await slow.write(depth=2)
    with pytest.raises(LeaseLost):
        await slow.release(depth=2)
    assert await written(mongo) == before


async def test_one_that_nobody_has_overtaken_goes_on(mongo: Mongo) -> None:
    holder = lease(mongo, SHORT)
    await taken(holder)
    await asyncio.sleep(SHORT)
    await holder.write(depth=1)
    assert not holder.lapsed
    assert (await taken(holder))["depth"] == 1


async def test_who_revokes_it_sends_the_next_holder_back(mongo: Mongo) -> None:
    late, holder = lease(mongo), lease(mongo)
    await taken(holder)
    await holder.write(depth=9)
    await late.revoke(depth={"$min": ["$depth", 5]})
    with pytest.raises(LeaseLost):
        await holder.write(depth=10)
    assert (await taken(holder))["depth"] == 5


async def test_values_are_never_read_as_expressions(mongo: Mongo) -> None:
    holder = lease(mongo)
    await taken(holder)
    await holder.write(trouble="$until", other={"$add": [1, 2]})
    found = await written(mongo)
    assert (found["trouble"], found["other"]) == ("$until", {"$add": [1, 2]})
