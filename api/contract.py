"""What other systems can rely on over Kafka: all that is published, as an AsyncAPI 3 document."""

import json

from api.relaying import TOPICS
from domain.published_messages import PUBLISHED
from domain.registry import AGGREGATES
from infra.asyncapi import Json, asyncapi


def contract() -> Json:
    """Generated from the types of messages and events, and from the topics."""
    events = (event for decider in AGGREGATES for event in decider.events)
    return asyncapi(PUBLISHED, events, TOPICS)


def contract_text() -> str:
    """The same as it is printed, and kept as a file."""
    return json.dumps(contract(), indent=2, ensure_ascii=False) + "\n"
