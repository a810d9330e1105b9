"""Is the memory image what the documents are? Asked before it answers, and now and then after.

Both are looked at as of one position: a snapshot that is the newest when the comparison begins.
What differs is logged and counted, and answered from the documents until a later comparison finds
it equal (the sampler may have healed the document meanwhile).
"""

import asyncio
import logging
import time
from typing import Any, Final

from domain.decider import message
from infra import metrics
from infra.documents import Row
from infra.folding import Changed, Projection
from infra.memory_image import CANNOT, Held, MemoryImage
from infra.newest import Snapshot
from infra.reads import Reads

log = logging.getLogger("tidings.image")

PAGE: Final = 1_000
"""Documents that are read and compared at once."""

SECONDS: Final = 600.0
"""Between two comparisons: each reads all documents of the read models once."""

MOST_TOLD: Final = 10
"""Differences of one comparison that are logged each."""


@message
class Difference:
    """What is held of a document, and what is stored; None where there is none."""

    projection: str
    key: str
    held: Any
    stored: Any


async def keep_image(
    image: MemoryImage, reads: Reads, seconds: float = SECONDS, rest: float = 1.0
) -> None:
    """Fill the image, then keep it near the newest snapshot and compare it, until cancelled."""
    compared = 0.0
    while True:
        try:
            at = await reads.snapshot()
            await image.advance(at.position)
            image.following = True
            if time.monotonic() - compared >= seconds or not _answers(image, at):
                await check_image(image, reads)
                compared = time.monotonic()
        except CANNOT as error:
            log.warning("the memory image has to wait: %r", error)
            await asyncio.sleep(rest * 10)
        await asyncio.sleep(rest)


def _answers(image: MemoryImage, at: Snapshot) -> bool:
    """Whether it was compared with what is live."""
    return all(
        held.generation == at.generations.get(name, held.generation)
        for name, held in image.held.items()
    )


async def check_image(image: MemoryImage, reads: Reads) -> list[Difference]:
    """Compare all that is held with the documents; from then on the image answers for what is
    equal."""
    found = []
    for held in image.held.values():
        differences = await _compared(image, held, reads)
        for difference in differences[:MOST_TOLD]:
            log.warning("the memory image differs: %s", difference)
        metrics.IMAGE_DIFFERENCES.labels(held.projection.name).inc(len(differences))
        found += differences
    return found


async def _compared(image: MemoryImage, held: Held, reads: Reads) -> list[Difference]:
    projection = held.projection
    at = await reads.snapshot()
    while image.position != at.position:
        await image.advance(at.position)
        await asyncio.sleep(0)  # it is ahead while a newer snapshot is being taken over
        at = await reads.snapshot()
    if projection.name not in at.generations:
        return []
    rest, failed = dict(held.rows), set(held.failed)
    different = []
    last: str | None = None
    while page := await _page(reads, projection, last, at):
        last = page[-1].key
        different += await asyncio.to_thread(_differing, projection, rest, page)
    different += [
        Difference(projection=projection.name, key=key, held=view, stored=None)
        for key, (view, _) in rest.items()
        if view is not None
    ]
    held.different = frozenset(difference.key for difference in different)
    held.generation = at.generations[projection.name]
    return [difference for difference in different if difference.key not in failed]


async def _page(
    reads: Reads, projection: Projection, last: str | None, at: Snapshot
) -> list[Row[Any]]:
    where = {} if last is None else {"_id": {"$gt": last}}
    return await reads.find_stored(projection, where, (("_id", 1),), PAGE, at)


def _differing(projection: Projection, rest: Changed, page: list[Row[Any]]) -> list[Difference]:
    """Those of the page that are not as held; what was compared is taken out of `rest`."""
    found = []
    for row in page:
        view, position = rest.pop(row.key, (None, 0))
        if (view, position) != (row.view, row.position):
            difference = Difference(
                projection=projection.name, key=row.key, held=view, stored=row.view
            )
            found.append(difference)
    return found
