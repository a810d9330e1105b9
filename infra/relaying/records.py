"""What records of one log have in common; and markers, which tell a consumer of the topic of all
events how far a partition is that rests.
"""

import orjson

from infra.cloud_events import CONTENT_TYPE, MARKER
from infra.kafka import Record
from infra.log import Log


def source_of(log: Log) -> str:
    """Whose events these are: ids are unique together with it."""
    return f"/{log.mongo.name}"


def marker_record(partition: int, position: int, source: str) -> Record:
    """Says that the partition holds, before this, all of its events up to the position."""
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": f"marker-{partition}-{position}",
        "ce_source": source,
        "ce_type": MARKER,
        "ce_position": str(position),
        "content-type": CONTENT_TYPE,
    }
    headers = [(name, text.encode()) for name, text in attributes.items()]
    return Record(None, orjson.dumps({"position": position}), headers)
