"""How the relay is, as seen by any process: from what it writes with its checkpoint."""

from typing import Final

from domain.decider import message
from infra.log import Log
from infra.mongo import Document

RELAYS: Final = "relays"
MAIN: Final = "kafka"

SILENT_AFTER: Final = 10.0
"""Seconds without a lease after which no relay is taken to be at work."""


@message
class RelayHealth:
    """Up to which position everything is in Kafka, and why there is no more; None when all is
    well."""

    position: int
    trouble: str | None


async def relay_health(log: Log) -> RelayHealth:
    """Of the relay, wherever it runs."""
    silent = {"$subtract": ["$$NOW", "$until"]}
    stages: list[Document] = [
        {"$match": {"_id": MAIN}},
        {"$project": {"position": 1, "trouble": 1, "silent": silent}},
    ]
    rows = await log.mongo.run(lambda db: list(db[RELAYS].aggregate(stages)))
    row = rows[0] if rows else {}
    at_work = bool(row) and row["silent"] <= SILENT_AFTER * 1_000
    return RelayHealth(
        position=row.get("position", 0),
        trouble=row.get("trouble") if at_work else "no relay is at work",
    )
