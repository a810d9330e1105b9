"""Events as MongoDB gives them, byte for byte: what hashes are taken over."""

from typing import Any

from bson.raw_bson import RawBSONDocument

from infra.log import EVENTS, Log
from infra.mongo import CODEC, SyncDatabase


async def raw_events(
    log: Log, after: int, limit: int, upto: int | None = None
) -> list[RawBSONDocument]:
    """Events of positions above `after`, in order."""
    options = CODEC.with_options(document_class=RawBSONDocument)
    place = {"$gt": after} if upto is None else {"$gt": after, "$lte": upto}

    def read(db: SyncDatabase) -> list[RawBSONDocument]:
        events = db.get_collection(EVENTS, codec_options=options)
        found: Any = events.find({"_id": place}, sort=[("_id", 1)], limit=limit)
        return list(found)

    return await log.mongo.run(read)
