"""Reading the log as auditors do: by story.

Events that a process caused are indexed by their story. The command that began it is found by its
record: its events are the ones that end at the position recorded with its answer.
"""

from typing import Any, Final

from domain.recorded import Recorded
from infra.log import EVENTS, Log
from infra.mongo import SyncDatabase

MOST_EVENTS: Final = 2_000
MOST_AT_ONCE: Final = 500
"""Events of one command looked back for."""

CAUSED: Final[dict[str, Any]] = {"meta.cause": {"$type": "string"}}


async def prepare_audit(log: Log) -> None:
    """Create the index of stories; harmless when it exists."""
    await log.mongo.run(
        lambda db: db[EVENTS].create_index(
            [("meta.correlation_id", 1), ("_id", 1)], partialFilterExpression=CAUSED
        )
    )


async def story_events(log: Log, correlation_id: str) -> list[Recorded]:
    """All events of a story by position, at most `MOST_EVENTS`."""

    def read(db: SyncDatabase) -> list[dict[str, Any]]:
        record = db["commands"].find_one({"_id": correlation_id})
        first: list[dict[str, Any]] = []
        if record is not None:
            upto = {"_id": {"$lte": record["position"]}}
            for event in db[EVENTS].find(upto, sort=[("_id", -1)], limit=MOST_AT_ONCE):
                if event["meta"]["command_id"] != correlation_id:
                    break
                first.insert(0, event)
        caused = {"meta.correlation_id": correlation_id, **CAUSED}
        found = db[EVENTS].find(caused, sort=[("_id", 1)], limit=MOST_EVENTS)
        return first + list(found)

    return log.all_decoded(await log.mongo.run(read))
