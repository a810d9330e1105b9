"""Which later events make no sense any more: a decider is asked again about streams that differ.

What people have put into the branch is not asked about: it is what is tried. All after it is, and
what variants have made of it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from domain.decider import Decider
from domain.recorded import Recorded
from domain.redeciding import Refusal, refusals
from infra.branching.difference import Difference
from infra.log import Log

STREAMS_AT_ONCE: Final = 500


async def refused_in(
    log: Log,
    deciders: Mapping[str, Decider[Any, Any, Any]],
    difference: Difference,
    by_hand: frozenset[int],
) -> list[Refusal]:
    """The events that are refused now, in the order of history; `by_hand` are the positions at
    which people have replaced one."""
    found: list[Refusal] = []
    first = difference.streams
    async for stream, history in _histories(log, difference):
        decider = deciders.get(stream.partition("-")[0])
        if decider is not None:
            asked = (
                (r, first[stream] <= r.position <= difference.upto and r.position not in by_hand)
                for r in history
            )
            found += refusals(decider, asked)
    return sorted(found, key=lambda refusal: refusal.recorded.position)


async def _histories(
    log: Log, difference: Difference
) -> AsyncIterator[tuple[str, Sequence[Recorded]]]:
    """Every stream that differs, with its events in the branch."""
    streams = sorted(difference.streams)
    for start in range(0, len(streams), STREAMS_AT_ONCE):
        some = streams[start : start + STREAMS_AT_ONCE]
        for stream, real in (await log.streams(some, difference.upto)).items():
            yield stream, difference.history(real, difference.of_stream(stream))
