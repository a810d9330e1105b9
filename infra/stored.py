"""Documents as MongoDB has them at one moment: the calls, each one hop to the driver.

Those who ask for documents by key at the same moment share a call, and so do those who ask for the
same page.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from bson.timestamp import Timestamp

from infra.codec import from_stored
from infra.documents import Row
from infra.folding import Projection
from infra.mongo import CODEC, Document, Mongo, SyncDatabase, preferred
from infra.together import Found, Together

BATCH: Final = 10_000
"""Documents that come at once, unless they are too large."""


class Moment(NamedTuple):
    """Where the documents of a read model are, and when."""

    projection: Projection
    collection: str
    at: Timestamp


class Stored:
    """`preference` says which members of the replica set are asked: a secondary answers once it
    has come to the moment."""

    def __init__(self, mongo: Mongo, preference: str) -> None:
        self._mongo = mongo
        self._preference = preferred(preference)
        self._together = Together()

    async def get(
        self,
        moment: Moment,
        keys: Iterable[str],
        seen: Callable[[list[str], dict[str, Row[Any]]], None] = lambda _keys, _found: None,
    ) -> dict[str, Row[Any]]:
        """The documents with these keys, in one call with all who ask meanwhile; each call that is
        made tells `seen` which keys it was for."""

        async def fetch(keys: list[str]) -> Found:
            found = {row.key: row for row in await self.find(moment, filter={"_id": {"$in": keys}})}
            seen(keys, found)
            return found

        return await self._together.get((moment.collection, moment.at), keys, fetch)

    async def once(
        self, moment: Moment, asked: str, fetch: Callable[[], Awaitable[list[Any]]]
    ) -> list[Any]:
        """What `fetch` answers, for all who ask this meanwhile."""

        async def fetched(keys: list[str]) -> Found:
            return dict.fromkeys(keys, await fetch())

        found = await self._together.get((moment.collection, moment.at, asked), ("",), fetched)
        return list(found[""])

    async def find(self, moment: Moment, **options: Any) -> list[Row[Any]]:
        """What a find with these options finds."""
        command = {"find": moment.collection, "batchSize": BATCH, **options}
        view = moment.projection.view
        documents = await self._command(moment, command)
        return [Row(document, from_stored(view, document)) for document in documents]

    async def keys(self, moment: Moment, **options: Any) -> list[str]:
        """The keys of what a find with these options finds."""
        command = {"find": moment.collection, "batchSize": BATCH, "projection": {"_id": 1}}
        return [document["_id"] for document in await self._command(moment, {**command, **options})]

    async def aggregate(
        self, moment: Moment, pipeline: Sequence[Mapping[str, Any]]
    ) -> list[Document]:
        """What a pipeline makes of the documents."""
        command: Document = {"aggregate": moment.collection, "pipeline": list(pipeline)}
        return await self._command(moment, {**command, "cursor": {"batchSize": BATCH}})

    async def _command(self, moment: Moment, command: Document) -> list[Document]:
        command["readConcern"] = {"level": "snapshot", "atClusterTime": moment.at}
        return await self._mongo.run(partial(_all_of, command, self._preference))


def _all_of(command: Document, preference: Any, db: SyncDatabase) -> list[Document]:
    """All that a command finds, from the member that it has been begun on."""
    with db.client.start_session(causal_consistency=False) as session:
        return list(
            db.cursor_command(
                command, read_preference=preference, codec_options=CODEC, session=session
            )
        )
