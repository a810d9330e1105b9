"""How far the desk has heard: what it does not know yet has not been told, or not been heard."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from api.shipping_desk.copies import Heard
from domain.decider import message


@message
class Reached:
    """How far a partition has been heard: `offset` is that of the next message, `position` and `at`
    are of the newest one that could be read."""

    id: str
    topic: str
    partition: int
    offset: int
    position: int | None
    at: datetime | None


def reached_after(batch: Sequence[Heard]) -> list[Reached]:
    """How far the partitions of a batch have been heard with it."""
    last = {(heard.place.topic, heard.place.partition): heard for heard in batch}
    return [
        Reached(
            id=f"{topic}/{partition}",
            topic=topic,
            partition=partition,
            offset=heard.place.offset + 1,
            position=heard.position,
            at=heard.at,
        )
        for (topic, partition), heard in last.items()
    ]


@message
class TopicReached:
    """The newest message heard of a topic."""

    topic: str
    position: int
    at: datetime


def by_topic(reached: Iterable[Reached]) -> list[TopicReached]:
    """How far the topics have been heard, by name."""
    newest: dict[str, TopicReached] = {}
    for one in reached:
        if one.position is None or one.at is None:
            continue
        if one.topic not in newest or newest[one.topic].position < one.position:
            newest[one.topic] = TopicReached(topic=one.topic, position=one.position, at=one.at)
    return [newest[topic] for topic in sorted(newest)]
