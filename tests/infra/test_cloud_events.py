"""Records on Kafka: what a library of somebody else makes of them, and what ours does."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

from domain.published_messages import PUBLISHED, Notice
from infra.cloud_events import Encoded, decoded, encoded, type_name
from infra.codec import EventCodec, Unreadable, from_json
from tests.contracts import told as samples

TOLD = samples.told()


@dataclass
class Consumed:
    """What a consumer of the driver gets."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def parsed(record: Encoded) -> BaseCloudEvent:
    """By the SDK of the CloudEvents project, which knows no records without value."""
    value = b"null" if record.value is None else record.value
    return from_binary_event(KafkaMessage(dict(record.headers), record.key, value))


def header(record: Encoded, name: str) -> str | None:
    found = [value.decode() for each, value in record.headers if each == name]
    return found[0] if found else None


def changed(record: Encoded, **headers: str | None) -> Consumed:
    """The same with other headers; None takes one away."""
    kept = {**{name: value.decode() for name, value in record.headers}, **headers}
    return Consumed(
        record.key,
        record.value,
        [(name, value.encode()) for name, value in kept.items() if value is not None],
    )


def test_the_samples_are_of_all_types() -> None:
    names = {(each.message.type, each.message.version) for each in TOLD}
    assert names == {(kind.name, kind.version) for kind in PUBLISHED}
    gone = {each.message.type for each in TOLD if each.message.data is None}
    assert gone == {kind.name for kind in PUBLISHED if kind.erasable}


@pytest.mark.parametrize("told", TOLD, ids=lambda told: told.message.type)
def test_the_cloud_events_library_reads_every_message(told: samples.Told) -> None:
    event = parsed(told.record)
    message, meta = told.message, told.recorded.meta
    assert event.get_specversion() == "1.0"
    assert event.get_type() == f"tidings.{message.type}.v{message.version}"
    assert event.get_source() == "/tidings"
    assert event.get_subject() == message.subject
    assert event.get_time() == meta.recorded_at
    assert event.get_extension("partitionkey") == message.key == told.record.key.decode()
    assert event.get_extension("position") == str(told.recorded.position)
    assert event.get_extension("correlationid") == meta.correlation_id
    assert event.get_extension("causationid") == meta.causation_id
    wire = None if message.data is None else msgspec.to_builtins(message.data)
    assert event.get_data() == wire
    assert event.get_datacontenttype() == (None if wire is None else "application/json")


@pytest.mark.parametrize("record", samples.log_records(), ids=lambda each: header(each, "ce_type"))
def test_the_cloud_events_library_reads_every_event_of_the_log(record: Encoded) -> None:
    event = parsed(record)
    data = event.get_data()
    assert isinstance(data, dict)
    assert event.get_type() == f"tidings.log.{data['type']}.v{data['schema']}"
    assert event.get_subject() == data["stream"] == record.key.decode()
    assert event.get_id() == data["meta"]["event_id"]


def test_an_event_of_the_log_is_read_as_it_was_stored() -> None:
    codec = EventCodec([kind for _, kind in samples.EVENTS], convert=from_json)
    for recorded, record in zip(samples.events(), samples.log_records(), strict=True):
        assert record.value is not None
        data = json.loads(record.value)
        assert codec.recorded({**data, "_id": data["position"]}) == (recorded,)


@pytest.mark.parametrize("told", TOLD, ids=lambda told: told.message.type)
def test_a_recipient_reads_what_was_told(told: samples.Told) -> None:
    received = decoded(Consumed(*told.record))
    message, recorded = told.message, told.recorded
    assert (received.type, received.version) == (message.type, message.version)
    assert (received.key, received.subject) == (message.key, message.subject)
    assert (received.position, received.at) == (recorded.position, recorded.meta.recorded_at)
    assert received.data == message.data


def test_what_is_sent_again_is_the_same_and_nothing_else_has_its_id() -> None:
    ids: dict[str | None, tuple[str, str]] = {}
    for told in TOLD:
        assert told.record == told.record
        told_of = (told.recorded.meta.event_id, told.message.type)
        assert ids.setdefault(header(told.record, "ce_id"), told_of) == told_of
    for record in samples.log_records():
        assert header(record, "ce_id") not in ids


def test_a_trace_goes_on() -> None:
    told = TOLD[0]
    parent = header(told.record, "traceparent")
    assert parent is not None
    assert re.fullmatch(rf"00-{samples.TRACE}-(?!0{{16}})[0-9a-f]{{16}}-01", parent)
    for trace in (None, "not a trace"):
        meta = replace(told.recorded.meta, trace=trace)
        record = encoded(told.message, replace(told.recorded, meta=meta), "/tidings")
        assert header(record, "traceparent") is None


def test_a_notice_holds_no_personal_data() -> None:
    """Samples of texts are called after their fields: `some email`."""
    notices = [told for told in TOLD if isinstance(told.message.data, Notice)]
    assert len(notices) > 20
    for told in notices:
        assert b"some " not in (told.record.value or b"")


def test_a_recipient_passes_over_what_it_does_not_know() -> None:
    record = TOLD[0].record
    received = decoded(changed(record, ce_type="tidings.OrderPraised.v3", ce_new="one"))
    assert (received.type, received.version) == ("OrderPraised", 3)
    assert received.data == json.loads(record.value or b"")
    more = json.dumps({**json.loads(record.value or b""), "mood": "good"}).encode()
    assert decoded(Consumed(record.key, more, record.headers)) == decoded(Consumed(*record))


@pytest.mark.parametrize(
    "headers",
    [{"ce_id": None}, {"ce_position": "far"}, {"ce_type": "OrderPlaced"}, {"ce_time": "noon"}],
    ids=str,
)
def test_what_is_wrong_is_unreadable(headers: dict[str, str | None]) -> None:
    with pytest.raises(Unreadable):
        decoded(changed(TOLD[0].record, **headers))


@pytest.mark.parametrize("value", [b"{}", b"[", b'{"id": 1}', b"\xff"], ids=repr)
def test_data_that_is_wrong_is_unreadable(value: bytes) -> None:
    record = TOLD[0].record
    with pytest.raises(Unreadable, match=type_name(PUBLISHED[0]).partition(".")[0]):
        decoded(Consumed(record.key, value, record.headers))
