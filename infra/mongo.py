"""The one file that names the driver: a client, its collections, and transactions.

Motor hops to a thread for every call (0.3 ms of CPU each). What belongs together is therefore done
in one hop: `Mongo.run` hands a plain function the driver's synchronous face of the same client.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import pymongo
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    PyMongoError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import make_read_preference, read_pref_mode_from_name
from pymongo.write_concern import WriteConcern

T = TypeVar("T")
Document: TypeAlias = dict[str, Any]
Session: TypeAlias = ClientSession
SyncDatabase: TypeAlias = Database[Document]
SyncCollection: TypeAlias = Collection[Document]

SECONDS_TO_GIVE_UP = 10.0
"""How long a write is tried while the server is away or contended."""

TOO_LATE = 290
"""MongoDB's code for a transaction that has outlived `transactionLifetimeLimitSeconds`."""

GOING = (91, 11600)
"""MongoDB's codes for what it has not finished because it is being shut down."""

THREADS = 32
"""Calls at once, at most. While the server is away each waits for seconds, those of background work
as well: whoever asks meanwhile is not to wait for them, too."""

AGAIN_SECONDS = 0.5

CODEC: CodecOptions[Document] = CodecOptions(tz_aware=True)


class Unavailable(Exception):
    """MongoDB cannot be reached or does not answer in time. Trying again later is sensible."""


class Mongo:
    """One database. Acknowledged means majority and journal; reads see only what that holds for."""

    def __init__(self, uri: str, database: str) -> None:
        self.client: Any = AsyncIOMotorClient(
            uri,
            serverSelectionTimeoutMS=4_000,  # twice in one operation is still in its time
            connectTimeoutMS=5_000,
            retryReads=True,
            retryWrites=True,
            tz_aware=True,
        )
        self.uri, self.name = uri, database
        self.db: Any = self.client.get_database(
            database,
            codec_options=CODEC,
            write_concern=WriteConcern("majority", j=True),
            read_concern=ReadConcern("majority"),
        )
        self.sync: SyncDatabase = self.db.delegate
        self._threads = ThreadPoolExecutor(THREADS, "mongo")

    async def run(self, work: Callable[[SyncDatabase], T]) -> T:
        """Run `work` in one worker thread; a server out of reach raises `Unavailable`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _tried, work, self.sync)

    async def transaction(self, work: Callable[[SyncDatabase, Session], T]) -> T:
        """Run `work` in one transaction in one worker thread (see `in_transaction`)."""
        return await self.run(lambda db: in_transaction(db, work))

    def watch(self, collection: str, pipeline: list[Document], **options: Any) -> Any:
        """A change stream, as an async context manager and iterator."""
        return self.db[collection].watch(pipeline, **options)

    async def prepare(self, collections: Mapping[str, Mapping[str, Any]]) -> None:
        """Create the collections that do not exist yet, with their options."""

        def create(db: SyncDatabase) -> None:
            existing = set(db.list_collection_names())
            for name, options in collections.items():
                if name not in existing:
                    try:
                        db.create_collection(name, check_exists=False, **options)
                    except PyMongoError as error:
                        if getattr(error, "code", None) != 48:  # another process was faster
                            raise

        await self.run(create)

    def close(self) -> None:
        self.client.close()


def preferred(name: str) -> Any:
    """A read preference by the name that MongoDB has for it."""
    return make_read_preference(read_pref_mode_from_name(name), tag_sets=None)


def in_transaction(db: SyncDatabase, work: Callable[[SyncDatabase, Session], T]) -> T:
    """Run `work` in one transaction, as part of what a worker thread does.

    It is run again where the server asks for that (a write conflict, a new primary), so it must not
    keep state of its own. What it raises aborts the transaction.
    """
    with pymongo.timeout(SECONDS_TO_GIVE_UP), db.client.start_session() as session:
        return session.with_transaction(
            lambda current: work(db, current),
            read_concern=ReadConcern("snapshot"),
            write_concern=WriteConcern("majority", j=True),
        )


def _tried(work: Callable[[SyncDatabase], T], db: SyncDatabase) -> T:
    try:
        return work(db)
    except (ConnectionFailure, ExecutionTimeout, WTimeoutError) as error:
        raise Unavailable(str(error)) from error
    except PyMongoError as error:
        code = getattr(error, "code", None)
        transient = error.has_error_label("TransientTransactionError")
        if error.timeout or transient or code == TOO_LATE or code in GOING:
            raise Unavailable(str(error)) from error
        raise


async def once_available(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` answers, tried until MongoDB is there: for what must not end with it."""
    while True:
        try:
            return await work()
        except Unavailable:
            await asyncio.sleep(AGAIN_SECONDS)


@asynccontextmanager
async def open_mongo(uri: str, database: str) -> AsyncIterator[Mongo]:
    """A connected `Mongo`, closed at the end; raises `Unavailable` when nobody answers."""
    mongo = Mongo(uri, database)
    try:
        await mongo.run(lambda db: db.command("ping"))
        yield mongo
    finally:
        mongo.close()
