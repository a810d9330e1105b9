"""The contract with others as an AsyncAPI 3 document, generated from the types themselves.

1. Every type of message that is published has its name, shape and meaning here, and its channel.
2. What is stored in the log is on a channel of its own, in today's shapes: it is for projectors of
   our own, and is no promise to others (older shapes are read through upcasters).
3. Payloads are CloudEvents data: its attributes are the headers (binary mode).
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final, TypeAlias, get_args, get_type_hints

import msgspec

from domain.published_messages import (
    CUSTOMERS_TOPIC,
    NOTIFICATIONS_TOPIC,
    PRODUCTS_TOPIC,
    MessageType,
)
from domain.recorded import Meta
from infra.cloud_events import CONTENT_TYPE, MARKER, StoredEvent, stored_type_name, type_name
from infra.codec import schema_of
from infra.kafka import DAY, EVENTS, Topic

Json: TypeAlias = dict[str, Any]

CONTRACT_VERSION: Final = "1.0.0"

PURPOSES: Final[Mapping[str, str]] = {
    NOTIFICATIONS_TOPIC: """\
Event notification: something has happened, with a link to ask for more. At least once, in order for
each subject.""",
    CUSTOMERS_TOPIC: """\
Event-carried state transfer: the latest state of each customer, by id. A record without a value
says that the customer is to be forgotten.""",
    PRODUCTS_TOPIC: """\
Event-carried state transfer: the latest state of each product, by id. A record without a value says
that the product is to be forgotten.""",
    EVENTS: """\
Every event as it is stored, by stream, for projectors of our own. At least once, in the order of
positions for each partition. A marker tells how far an idle partition is.""",
}
"""What each topic is for."""

_TEXT: Final[Json] = {"type": "string"}
ATTRIBUTES: Final = "Attributes"
_ATTRIBUTES: Final[Json] = {
    "title": ATTRIBUTES,
    "description": "Attributes of CloudEvents, as headers. Markers have those that are required.",
    "type": "object",
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {**_TEXT, "description": "What is sent again has the same id."},
        "ce_source": {**_TEXT, "format": "uri-reference", "description": "Whose events these are."},
        "ce_type": _TEXT,
        "ce_position": {
            **_TEXT,
            "pattern": "^[0-9]+$",
            "description": "A place in the log: a later one is further.",
        },
        "ce_time": {**_TEXT, "format": "date-time"},
        "ce_subject": {**_TEXT, "description": "What it is about: an id of our GraphQL API."},
        "ce_partitionkey": {**_TEXT, "description": "The same as the key of the record."},
        "ce_correlationid": {**_TEXT, "description": "The same for all that one command led to."},
        "ce_causationid": {**_TEXT, "description": "The event or command that caused it."},
        "content-type": {"const": CONTENT_TYPE, "description": "Where there is a value."},
        "traceparent": {**_TEXT, "description": "W3C Trace Context, where there is a trace."},
    },
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_position"],
}


def asyncapi(
    published: Iterable[MessageType], events: Iterable[type], topics: Iterable[Topic]
) -> Json:
    """The document: what is published, and these events of the log."""
    published, events, topics = tuple(published), tuple(events), tuple(topics)
    kinds = dict.fromkeys((StoredEvent, Meta, *events, *(kind.data for kind in published)))
    messages: dict[str, dict[str, Json]] = {topic.name: {} for topic in topics}
    for kind in published:
        messages[kind.topic][type_name(kind)] = _published(kind)
    for event in events:
        name = stored_type_name(event.__name__, schema_of(event))
        messages[EVENTS][name] = _stored(name, event)
    messages[EVENTS][MARKER] = _marker()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidings",
            "version": CONTRACT_VERSION,
            "description": "What others can hear of orders, customers and products, over Kafka, as "
            "CloudEvents 1.0 in binary mode.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic.name: _channel(topic, messages[topic.name]) for topic in topics},
        "operations": {
            f"tell-{topic.rpartition('.')[2]}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{topic}"},
            }
            for topic in messages
        },
        "components": {
            "messages": {name: one for some in messages.values() for name, one in some.items()},
            "schemas": {ATTRIBUTES: _ATTRIBUTES, **_schemas(kinds)},
        },
    }


def _channel(topic: Topic, messages: Iterable[str]) -> Json:
    configuration: Json = {"cleanup.policy": ["compact" if topic.compacted else "delete"]}
    if topic.days is not None:
        configuration["retention.ms"] = topic.days * DAY
    return {
        "address": topic.name,
        "description": PURPOSES[topic.name].replace("\n", " "),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": configuration,
            }
        },
    }


# -- messages


def _published(kind: MessageType) -> Json:
    data = _reference(kind.data)
    payload = {"oneOf": [data, {"type": "null"}]} if kind.erasable else data
    return _message(type_name(kind), kind.tells, payload)


def _stored(name: str, event: type) -> Json:
    tells = f"{event.__name__}, as it is stored in the log."
    own = {
        "type": {"const": event.__name__},
        "schema": {"const": schema_of(event)},
        "data": _reference(event),
    }
    payload = {"allOf": [_reference(StoredEvent), {"type": "object", "properties": own}]}
    return _message(name, tells, payload)


def _message(name: str, tells: str, payload: Json) -> Json:
    return {
        "name": name,
        "summary": tells,
        "headers": _attributes(name),
        "payload": payload,
        "bindings": {"kafka": {"key": _TEXT}},
    }


def _marker() -> Json:
    payload = {
        "type": "object",
        "properties": {"position": {"type": "integer"}},
        "required": ["position"],
    }
    return {
        "name": MARKER,
        "summary": "The partition holds, before this, all of its events up to the position.",
        "headers": _attributes(MARKER),
        "payload": payload,
    }


def _attributes(name: str) -> Json:
    own = {"type": "object", "properties": {"ce_type": {"const": name}}, "required": ["ce_type"]}
    return {"type": "object", "allOf": [_reference(ATTRIBUTES), own]}


# -- schemas


def _reference(kind: type | str) -> Json:
    name = kind if isinstance(kind, str) else kind.__name__
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas(kinds: Iterable[type]) -> Json:
    kinds = tuple(kinds)
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for kind in kinds:
        hints = get_type_hints(kind)
        for name in (field.name for field in fields(kind)):
            if datetime in (hints[name], *get_args(hints[name])):
                schemas[kind.__name__]["properties"][name] |= {"format": "date-time"}
    return schemas
