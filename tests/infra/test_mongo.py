"""The driver behind one file: which trouble is told as passing."""

from typing import Any, Final

import pytest
from pymongo.errors import OperationFailure

from infra.mongo import (
    TOO_LATE,
    Document,
    Mongo,
    Session,
    SyncDatabase,
    Unavailable,
    once_available,
)

LIFETIME: Final = "transactionLifetimeLimitSeconds"
MOST_SECONDS: Final = 5

MANY: Final = {"$range": [0, 100_000]}
FOR_MINUTES: Final[list[Document]] = [
    {"$project": {"a": MANY}},
    {"$unwind": "$a"},
    {"$project": {"b": MANY}},
    {"$unwind": "$b"},
    {"$match": {"b": -1}},
]


async def test_a_transaction_that_outlives_its_time_is_trouble_that_passes(mongo: Mongo) -> None:
    asked: Document = {"getParameter": 1, LIFETIME: 1}
    parameters: Any = await mongo.run(lambda db: db.client.admin.command(asked))
    if parameters[LIFETIME] > MOST_SECONDS:
        pytest.skip("this MongoDB has more patience than a test")
    await mongo.run(lambda db: db["slow"].insert_one({"_id": 1}))

    def slow(db: SyncDatabase, session: Session) -> None:
        db["slow"].update_one({"_id": 1}, {"$set": {"seen": True}}, session=session)
        list(db["slow"].aggregate(FOR_MINUTES, session=session))

    with pytest.raises(Unavailable) as raised:
        await mongo.transaction(slow)
    cause = raised.value.__cause__
    assert isinstance(cause, OperationFailure)
    assert cause.code == TOO_LATE
    assert await mongo.run(lambda db: db["slow"].find_one()) == {"_id": 1}


async def test_what_must_not_end_is_tried_until_the_store_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("infra.mongo.AGAIN_SECONDS", 0)
    answers: list[str | Unavailable] = [Unavailable("away"), Unavailable("away"), "there"]

    async def work() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    assert await once_available(work) == "there"


async def test_what_is_not_the_store_being_away_is_raised() -> None:
    async def work() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        await once_available(work)
