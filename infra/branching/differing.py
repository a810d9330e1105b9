"""From what a branch changes to where its history differs: variants are followed through the log.

1. What people put in, drop and replace comes first; the variants see that, each what the one before
   has left.
2. A variant begins at the start of the branch: a story that began earlier is as it was.
3. Only events of the types that the variants look at are read.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any

from domain.recorded import Recorded
from domain.variant import Variant
from infra.branching.difference import Difference, Own
from infra.branching.record import Branch
from infra.codec import from_stored
from infra.log import EVENTS, Log


async def difference_of(
    log: Log,
    branch: Branch,
    variants: Mapping[str, Variant[Any]],
    progress: Callable[[int], None] = lambda _: None,
) -> Difference:
    """Where the history of the branch differs."""
    plain = await _by_hand(log, branch)
    if not branch.variants:
        return plain
    rules = [
        (variants[used.name], from_stored(variants[used.name].rule, used.rule))
        for used in branch.variants
    ]
    rewriting = _Rewriting(plain, rules)
    names = log.codec.stored_names({kind for one, _ in rules for kind in one.events})
    reached = branch.at - 2  # an event of its own may come before the first that may be changed
    async for batch in log.scan(branch.at - 1, branch.upto, type={"$in": names}):
        last = batch[-1].position
        rewriting.follow(batch, plain.between(reached, last))
        reached = last
        progress(len(batch))
    rewriting.follow((), plain.between(reached, branch.upto))
    return rewriting.difference()


async def _by_hand(log: Log, branch: Branch) -> Difference:
    """Where it differs by what people put in, drop and replace."""
    instead: dict[int, tuple[Any, ...]] = dict.fromkeys(branch.dropped, ())
    for one in branch.replaced:
        instead[one.position] = log.codec.decode(one.type, one.schema, one.data)
    own = [
        Own(
            number=one.number,
            after=one.after,
            follows=one.follows,
            stream=one.stream,
            event=event,
            meta=one.meta,
        )
        for one in branch.injected
        for event in log.codec.decode(one.type, one.schema, one.data)
    ]
    return Difference(branch.upto, own, await real_at(log, list(instead)), instead)


async def real_at(log: Log, positions: Sequence[int]) -> dict[int, tuple[Recorded, ...]]:
    """The real events at these positions."""
    found = await log.mongo.run(lambda db: list(db[EVENTS].find({"_id": {"$in": positions}})))
    return {document["_id"]: log.decoded(document) for document in found}


class _Rewriting:
    """Variants at work: what they make of the branch's history, in its order."""

    def __init__(self, plain: Difference, rules: Sequence[tuple[Variant[Any], Any]]) -> None:
        self._plain, self._rules = plain, rules
        self._states: dict[tuple[int, str], Any] = {}
        self._own = {one.number: one for one in plain.own}
        self._real = dict(plain.real)
        self._instead = dict(plain.instead)

    def follow(self, real: Sequence[Recorded], own: Sequence[Own]) -> None:
        """The next part of history."""
        originals = {p: tuple(g) for p, g in groupby(real, attrgetter("position"))}
        for position, group in groupby(self._plain.history(real, own), attrgetter("position")):
            events = [recorded.event for recorded in group]
            retold = tuple(found for e in events if (found := self._retold(e)) is not None)
            if retold != tuple(events):
                self._put(position, retold, originals)

    def _put(
        self, position: int, retold: tuple[Any, ...], originals: Mapping[int, tuple[Recorded, ...]]
    ) -> None:
        if position in originals:
            self._real[position] = originals[position]
            self._instead[position] = retold
            return
        one = self._own.pop(position - self._plain.upto)
        for event in retold:
            self._own[one.number] = replace(one, event=event)

    def _retold(self, event: Any) -> Any:
        """The event after all variants; None where it has not happened."""
        for number, (variant, rule) in enumerate(self._rules):
            if event is None or not isinstance(event, variant.events):
                continue
            place = number, variant.story_of(event)
            state, event = variant.rewrite(rule, self._states.get(place), event)
            if state is None:
                self._states.pop(place, None)
            else:
                self._states[place] = state
        return event

    def difference(self) -> Difference:
        return Difference(self._plain.upto, self._own.values(), self._real, self._instead)


def touched(
    events: Iterable[Recorded],
    kinds: tuple[type, ...],
    keys: Callable[[Recorded], Iterable[str]],
) -> set[str]:
    """The keys that any of the events touches, for a read model of these kinds and keys."""
    return {key for one in events if isinstance(one.event, kinds) for key in keys(one)}
