"""Statements of a transaction in one go: they are the driver's in all but the waiting."""

from collections.abc import AsyncIterator, Callable

import bson
import pytest
import pytest_asyncio
from pymongo.errors import DocumentTooLarge, OperationFailure

from infra import one_trip
from infra.mongo import Document, Mongo, Session, SyncDatabase, open_mongo
from infra.one_trip import Statement, in_one_trip, insert, update

TOLD = [{"_id": number, "text": "ä" * number} for number in range(3)]


@pytest_asyncio.fixture
async def mongo(mongodb_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    """With one connection only: whatever is left over on it meets the next command."""
    async with open_mongo(f"{mongodb_uri}&maxPoolSize=1", database_name) as opened:
        await opened.prepare({"a": {}, "b": {}})
        yield opened


async def stored(mongo: Mongo, name: str) -> list[Document]:
    return await mongo.run(lambda db: list(db[name].find(sort=[("_id", 1)])))


def sending(*statements: Statement) -> Callable[[SyncDatabase, Session], list[Document]]:
    return lambda db, session: in_one_trip(db, session, statements)


async def test_all_are_written_and_answered_in_order(mongo: Mongo) -> None:
    first, second = insert("a", map(bson.encode, TOLD)), insert("b", [bson.encode({"_id": 7})])
    change = update("a", {"_id": 1}, {"$set": {"text": "changed"}})
    none = update("a", {"_id": 99}, {"$set": {"text": "changed"}})
    answers = await mongo.transaction(sending(*first, change, none, *second))
    assert [answer["n"] for answer in answers] == [3, 1, 0, 1]
    assert await stored(mongo, "a") == [TOLD[0], {"_id": 1, "text": "changed"}, TOLD[2]]
    assert await stored(mongo, "b") == [{"_id": 7}]


async def test_nothing_is_written_when_the_work_is_given_up(mongo: Mongo) -> None:
    def work(db: SyncDatabase, session: Session) -> None:
        in_one_trip(db, session, list(insert("a", map(bson.encode, TOLD))))
        raise LookupError

    with pytest.raises(LookupError):
        await mongo.transaction(work)
    assert await stored(mongo, "a") == []


async def test_the_first_error_is_the_last_answer_and_the_connection_stays_in_step(
    mongo: Mongo,
) -> None:
    twice = [*map(bson.encode, TOLD), bson.encode({"_id": 1})]
    told: list[list[Document]] = []

    def work(db: SyncDatabase, session: Session) -> None:
        told.append(
            in_one_trip(db, session, [*insert("a", twice), *insert("b", [bson.encode({"_id": 7})])])
        )
        raise LookupError

    with pytest.raises(LookupError):
        await mongo.transaction(work)
    ((answer,),) = told
    assert [error["code"] for error in answer["writeErrors"]] == [11000]
    assert await stored(mongo, "a") == await stored(mongo, "b") == []
    await mongo.transaction(sending(*insert("b", [bson.encode({"_id": 8})])))
    assert await stored(mongo, "b") == [{"_id": 8}]


async def test_what_mongodb_refuses_is_raised_as_the_driver_raises_it(mongo: Mongo) -> None:
    wrong = Statement(command={"insert": ""}, field="documents", documents=[bson.encode({})])
    with pytest.raises(OperationFailure) as refused:
        await mongo.transaction(sending(*insert("a", map(bson.encode, TOLD)), wrong))
    assert refused.value.code == 73
    assert await stored(mongo, "a") == []


async def test_a_write_conflict_is_tried_again(
    mongo: Mongo, mongodb_uri: str, database_name: str
) -> None:
    await mongo.transaction(sending(*insert("a", map(bson.encode, TOLD))))
    tried = 0

    def work(db: SyncDatabase, session: Session) -> None:
        nonlocal tried
        tried += 1
        db["b"].find_one(session=session)  # from now on it sees what is there now
        if tried == 1:
            other["a"].update_one({"_id": 1}, {"$set": {"text": "other"}})
        in_one_trip(db, session, [update("a", {"_id": 1}, {"$set": {"text": "ours"}})])

    async with open_mongo(mongodb_uri, database_name) as another:
        other = another.sync
        await mongo.transaction(work)
    assert tried == 2
    assert (await stored(mongo, "a"))[1]["text"] == "ours"


async def test_a_document_too_large_is_refused_before_it_is_sent(mongo: Mongo) -> None:
    large = bson.encode({"text": "x" * 17_000_000})
    with pytest.raises(DocumentTooLarge):
        await mongo.transaction(sending(*insert("a", [large])))
    assert await stored(mongo, "a") == []


def test_many_documents_are_several_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_trip, "MOST_DOCUMENTS", 3)
    monkeypatch.setattr(one_trip, "MOST_BYTES", 10)
    documents = [b"x" * size for size in (1, 1, 1, 1, 9, 20, 9)]
    sizes = [[len(d) for d in each.documents] for each in insert("a", documents)]
    assert sizes == [[1, 1, 1], [1, 9], [20], [9]]
    assert list(insert("a", [])) == []
