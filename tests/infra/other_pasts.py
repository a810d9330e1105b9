"""Jars with other pasts: a history, changes of it, and what is expected of a branch, told by the
simplest means."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final

from domain.decider import message
from domain.recorded import Recorded
from domain.variant import Variant
from infra.branches import Domain
from infra.commands import CommandHandler
from infra.documents import Documents
from infra.folding import Projection, as_read, document_of
from infra.mongo import Document
from infra.projector import Projector
from tests.infra import toy
from tests.infra.parts import handle_all

JAR: Final = replace(
    toy.JAR,
    gives={toy.Put: (toy.MarblesPut,), toy.Take: (toy.MarblesTaken,), toy.Seal: (toy.JarSealed,)},
)
DOMAIN: Final = Domain(deciders=(JAR,), joints=toy.JOINTS, processes=(), gateways=())
ALL: tuple[Mapping[str, Any], ...] = ({"$sort": {"_id": 1}},)


@message
class Doubled:
    """Of every `each` puts into a jar, one has twice as many marbles."""

    each: int


def doubling(rule: Doubled, state: int | None, event: Any) -> tuple[int, Any]:
    """A jar that would be sealed stays open."""
    if isinstance(event, toy.JarSealed):
        return state or 0, None
    count = (state or 0) + 1
    return count, event if count % rule.each else replace(event, marbles=2 * event.marbles)


DOUBLING: Final = Variant(
    "doubled", Doubled, (toy.MarblesPut, toy.JarSealed), attrgetter("jar"), doubling
)


async def some_history(handler: CommandHandler, projector: Projector, commands: int = 40) -> int:
    """Answers with where it ends."""
    chance, jars = random.Random(3), "abcd"
    await handle_all(handler, [toy.Put(jar=jar, marbles=5) for jar in jars])
    for number in range(commands):
        jar, to = chance.choice(jars), chance.choice(jars)
        await handle_all(handler, [toy.Put(jar=jar, marbles=number), toy.Move(jar=to, to=jar)])
    await projector.run_to_end()
    return (await handler._log.head()).position


def folded(projection: Projection, history: Sequence[Recorded]) -> dict[str, Document]:
    views: dict[str, tuple[Any, int]] = {}
    for recorded in history:
        if isinstance(recorded.event, projection.events):
            for key in projection.keys(recorded):
                before, _ = views.get(key, (None, 0))
                views[key] = projection.evolve(before, recorded, key), recorded.position
    return {
        key: as_read(document_of(key, view, position)) for key, (view, position) in views.items()
    }


async def agrees(documents: Documents, history: Sequence[Recorded]) -> None:
    """All ways to ask give the documents of this history."""
    for projection in toy.BOTH:
        expected = [own for _, own in sorted(folded(projection, history).items())]
        keys = [own["_id"] for own in expected]
        rows = await documents.get(projection, [*keys, "nothing of that kind"])
        assert [rows[key].document for key in keys] == expected
        assert len(rows) == len(keys)
        found = await documents.find(projection, {}, (("_id", 1),), 0)
        assert [row.document for row in found] == expected
        assert [row.view for row in found] == [rows[key].view for key in keys]
        assert await documents.aggregate(projection, ALL) == expected
        most = sorted(expected, key=lambda own: (-own["marbles"], own["_id"]))
        some = {"marbles": {"$gt": 10}}
        matching = [own for own in most if own["marbles"] > 10]
        found = await documents.find(projection, some, (("marbles", -1), ("_id", 1)), 2)
        assert [row.document for row in found] == matching[:2]
        assert await documents.count(projection, some, 3) == min(len(matching), 3)
        assert await documents.aggregate(projection, [{"$match": some}, *ALL]) == [
            own for own in expected if own["marbles"] > 10
        ]


def put(jar: str, marbles: int) -> toy.MarblesPut:
    return toy.MarblesPut(jar=jar, marbles=marbles, note="")


def other(events: Sequence[Recorded], **places: Any) -> list[Recorded]:
    """History with other events: `drop` and `instead` by position, `more` (event, stream) after."""
    drop, instead = places.get("drop", ()), places.get("instead", {})
    more = places.get("more", {})
    numbers = iter(range(events[-1].position + 1, 10_000))
    found = []
    for recorded in events:
        if recorded.position not in drop:
            found.append(replace(recorded, event=instead.get(recorded.position, recorded.event)))
        found += [
            replace(recorded, event=event, stream=toy.stream(event.jar), position=next(numbers))
            for event in more.get(recorded.position, ())
        ]
    return found
