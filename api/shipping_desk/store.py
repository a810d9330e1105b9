"""What the desk keeps, in a MongoDB of its own.

1. What a batch of messages changes is written in one transaction with the offsets after it: each
   message has its effect once, however often it comes.
2. A copy is as of the position of the message that made it; an older message leaves it alone. Of
   whoever was erased only the id and that position stay, so that nothing old brings them back.
3. What happens at the desk is written in one transaction with its report.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar

from pymongo import UpdateOne

from api.shipping_desk.calls import Call, Kind, question, report
from api.shipping_desk.copies import Ask, CallOff, Customer, Heard, Product, Unread
from api.shipping_desk.freshness import Reached, reached_after
from api.shipping_desk.shipments import DeskRefusal, Shipment, arrive, call_off, send
from infra.codec import from_stored, now, to_stored
from infra.mongo import Document, Mongo, Session, SyncDatabase

T = TypeVar("T")

CUSTOMERS: Final = "customers"
PRODUCTS: Final = "products"
SHIPMENTS: Final = "shipments"
CALLS: Final = "calls"
REACHED: Final = "reached"
UNREADABLE: Final = "unreadable"

_COPIES: Final = {Customer: CUSTOMERS, Product: PRODUCTS}

_BY_ID: Final = [("_id", 1)]
_LONGEST_FIRST: Final = [("since", 1), ("_id", 1)]

Step: TypeAlias = Callable[[Shipment, Sequence[int]], tuple[Shipment, tuple[int, ...]]]
_STEPS: Final[dict[Kind, Step]] = {Kind.REPORT_SENT: send, Kind.REPORT_ARRIVED: arrive}


class Store:
    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def prepare(self) -> None:
        """Create what is not there yet."""
        names = (CUSTOMERS, PRODUCTS, SHIPMENTS, CALLS, REACHED, UNREADABLE)
        await self._mongo.prepare({name: {} for name in names})

        def index(db: SyncDatabase) -> None:
            db[PRODUCTS].create_index([("sku", 1)])
            db[SHIPMENTS].create_index([("order_id", 1)])
            db[SHIPMENTS].create_index([("customer_id", 1)])
            db[SHIPMENTS].create_index([("status", 1), ("booked_at", 1), ("_id", 1)])
            db[CALLS].create_index([("refused", 1), ("since", 1), ("_id", 1)])

        await self._mongo.run(index)

    # -- what comes from Kafka

    async def reached(self) -> list[Reached]:
        """How far each partition has been heard."""
        return await self._mongo.run(lambda db: _found(db, REACHED, Reached, {}, _BY_ID, 0))

    async def hear(self, batch: Sequence[Heard]) -> None:
        """Write what a batch means, and how far it goes."""
        await self._mongo.transaction(lambda db, session: _hear(db, session, batch))

    # -- what people ask for

    async def customer(self, id: str) -> Customer | None:
        return await self._mongo.run(lambda db: _get(db, CUSTOMERS, Customer, id))

    async def shipment(self, id: str) -> Shipment | None:
        return await self._mongo.run(lambda db: _get(db, SHIPMENTS, Shipment, id))

    async def products(self, skus: Sequence[str]) -> dict[str, Product]:
        """Those of them that are known, by their sku."""

        def read(db: SyncDatabase) -> dict[str, Product]:
            where = {"sku": {"$in": list(skus)}}
            found = _found(db, PRODUCTS, Product, where, _BY_ID, len(skus))
            return {product.sku: product for product in found}

        return await self._mongo.run(read)

    async def queue(self, statuses: Sequence[str], limit: int) -> list[Shipment]:
        """Shipments of these states, those first that were booked first."""

        def read(db: SyncDatabase) -> list[Shipment]:
            where = {"status": {"$in": list(statuses)}}
            order = [("booked_at", 1), ("_id", 1)]
            return _found(db, SHIPMENTS, Shipment, where, order, limit)

        return await self._mongo.run(read)

    async def counts(self) -> dict[str, int]:
        """How much there is of everything; what was erased does not count."""

        def read(db: SyncDatabase) -> dict[str, int]:
            return {
                CUSTOMERS: db[CUSTOMERS].count_documents({"address": {"$ne": None}}),
                PRODUCTS: db[PRODUCTS].count_documents({"sku": {"$ne": ""}}),
                CALLS: db[CALLS].count_documents({"refused": False}),
                UNREADABLE: db[UNREADABLE].count_documents({}),
            }

        return await self._mongo.run(read)

    async def move(self, kind: Kind, shipment_id: str, lines: Sequence[int]) -> Shipment:
        """Send lines, or have them arrive, and keep the report; raises `DeskRefusal`."""

        def write(db: SyncDatabase, session: Session) -> Shipment:
            stored = db[SHIPMENTS].find_one({"_id": shipment_id}, session=session)
            if stored is None:
                raise DeskRefusal("SHIPMENT_UNKNOWN", f"There is no shipment {shipment_id}.")
            moved, new = _STEPS[kind](_value(Shipment, stored), lines)
            if new:
                _put_shipment(db, session, moved)
                told = to_document(report(kind, moved, new, now()))
                db[CALLS].insert_one(told, session=session)
            return moved

        return await self._mongo.transaction(write)

    # -- what is to be asked and reported

    async def unanswered(self, *, refused: bool, limit: int) -> list[Call]:
        """What still waits, or has been refused; what has waited longest first."""

        def read(db: SyncDatabase) -> list[Call]:
            return _found(db, CALLS, Call, {"refused": refused}, _LONGEST_FIRST, limit)

        return await self._mongo.run(read)

    async def book(self, call: Call, shipment_of: Callable[[Call], Shipment]) -> None:
        """Keep the shipment that a question was answered with. The order may have been cancelled
        since the question was read."""

        def write(db: SyncDatabase, session: Session) -> None:
            stored = db[CALLS].find_one_and_delete({"_id": call.id}, session=session)
            if stored is not None:
                document = _shipment_document(shipment_of(_value(Call, stored)))
                db[SHIPMENTS].update_one(
                    {"_id": document["_id"]},
                    {"$setOnInsert": document},
                    upsert=True,
                    session=session,
                )

        await self._mongo.transaction(write)

    async def done(self, call: Call) -> None:
        await self._mongo.run(lambda db: db[CALLS].delete_one({"_id": call.id}))

    async def put_off(self, call: Call, error: str, until: datetime | None) -> None:
        """Keep what went wrong; it is refused where it is not tried again."""
        changes = {"error": error, "not_before": until, "refused": until is None}
        update = {"$set": changes, "$inc": {"tries": 1}}
        await self._mongo.run(lambda db: db[CALLS].update_one({"_id": call.id}, update))


# -- values and documents


def to_document(value: Any) -> Document:
    """As it is stored: its id is the document's."""
    stored = to_stored(value)
    return {"_id": stored.pop("id"), **stored}


def _value(kind: type[T], document: Document) -> T:
    """The derived `status` of a shipment is passed over, as is all that a type does not name."""
    rest = {name: value for name, value in document.items() if name != "_id"}
    return from_stored(kind, {"id": document["_id"], **rest})


def _get(db: SyncDatabase, collection: str, kind: type[T], id: str) -> T | None:
    stored = db[collection].find_one({"_id": id})
    return None if stored is None else _value(kind, stored)


def _found(
    db: SyncDatabase,
    collection: str,
    kind: type[T],
    where: Document,
    order: list[tuple[str, int]],
    limit: int,
) -> list[T]:
    """At most `limit` of them (0: all)."""
    found = db[collection].find(where, sort=order, limit=limit)
    return [_value(kind, document) for document in found]


def _shipment_document(shipment: Shipment) -> Document:
    return {**to_document(shipment), "status": shipment.status.value}


def _put_shipment(db: SyncDatabase, session: Session, shipment: Shipment) -> None:
    db[SHIPMENTS].replace_one({"_id": shipment.id}, _shipment_document(shipment), session=session)


# -- hearing


def _hear(db: SyncDatabase, session: Session, batch: Sequence[Heard]) -> None:
    for kind, collection in _COPIES.items():
        copies = [heard.meaning for heard in batch if isinstance(heard.meaning, kind)]
        if copies:
            writes = [_unless_newer(to_document(copy)) for copy in copies]
            db[collection].bulk_write(writes, session=session)
            _forget(db, session, copies)
    for heard in batch:
        match heard.meaning:
            case Ask():
                call = to_document(question(heard.meaning.order_id, heard.meaning.link, now()))
                db[CALLS].update_one(
                    {"_id": call["_id"]}, {"$setOnInsert": call}, upsert=True, session=session
                )
            case CallOff():
                _call_off(db, session, heard.meaning.order_id)
            case Unread():
                _keep_unread(db, session, heard, heard.meaning)
    for reached in reached_after(batch):
        db[REACHED].replace_one(
            {"_id": reached.id}, to_document(reached), upsert=True, session=session
        )


def _unless_newer(copy: Document) -> UpdateOne:
    """Several messages may be of one position: the last of them counts."""
    is_news = {"$gte": [copy["position"], {"$ifNull": ["$position", 0]}]}
    put = [{"$replaceWith": {"$cond": [is_news, {"$literal": copy}, "$$ROOT"]}}]
    return UpdateOne({"_id": copy["_id"]}, put, upsert=True)


def _forget(db: SyncDatabase, session: Session, copies: Iterable[Any]) -> None:
    """Take the addresses of whoever was erased from their shipments as well."""
    erased = [copy.id for copy in copies if isinstance(copy, Customer) and copy.address is None]
    if erased:
        where = {"customer_id": {"$in": erased}}
        db[SHIPMENTS].update_many(where, {"$set": {"deliver_to": None}}, session=session)


def _call_off(db: SyncDatabase, session: Session, order_id: str) -> None:
    waiting = {"order_id": order_id, "kind": Kind.ASK.value}
    db[CALLS].update_one(waiting, {"$set": {"called_off": True}}, session=session)
    if stored := db[SHIPMENTS].find_one({"order_id": order_id}, session=session):
        _put_shipment(db, session, call_off(_value(Shipment, stored)))


def _keep_unread(db: SyncDatabase, session: Session, heard: Heard, unread: Unread) -> None:
    place = heard.place
    name = f"{place.topic}/{place.partition}/{place.offset}"
    document = {"_id": name, **to_stored(unread)}
    db[UNREADABLE].replace_one({"_id": name}, document, upsert=True, session=session)
