"""Proof: the log is whole, and the documents are what the log makes of them.

1. Positions are 1, 2, 3 …; versions are 1, 2, 3 … in every stream; the hash chain holds, and ends
   where the counter says.
2. Every event can be decoded, as the event it would be today; the laws of the domain hold.
3. Every read model is folded again from the log and compared document by document, at one position:
   a projector at work does no harm. What differs is told with the event that should have set it.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, Protocol

from domain.decider import message
from domain.recorded import Recorded
from infra.codec import Unreadable
from infra.differences import Difference, difference, explained, shortened
from infra.folding import PARKED, Folder, Projection, as_read, document_of, left_out_in, skipped_in
from infra.generations import checkpoint_of
from infra.log import EVENTS, SCAN_BATCH, Head, Log
from infra.log_check import LogCheck
from infra.looking import live_collection
from infra.mongo import Session, SyncDatabase
from infra.projector import Checkpoint
from infra.raw_events import raw_events

MOST_EXPLAINED: Final = 100
"""Documents of one read model whose differences are told in full."""
FEW: Final = 5_000
"""Events that are folded while a snapshot is held."""


@message
class Problem:
    """Something that is not as it must be, at a position or in a document."""

    what: str
    where: str


class Law(Protocol):
    """What verification needs of a law (`domain.laws.Law`)."""

    @property
    def name(self) -> str: ...
    @property
    def events(self) -> tuple[type, ...]: ...
    @property
    def initial(self) -> Any: ...
    @property
    def evolve(self) -> Callable[[Any, Any], Any]: ...
    @property
    def breaches(self) -> Callable[[Any], Iterable[str]]: ...
    @property
    def at_last(self) -> Callable[[Any], Iterable[str]]: ...


class Verification:
    """One pass over the log and the documents. Memory: all views of all read models."""

    def __init__(
        self, log: Log, projections: Sequence[Projection], laws: Sequence[Law] = ()
    ) -> None:
        self._log = log
        self.problems: list[Problem] = []
        self.documents = self.compared_at = 0
        """How many documents were compared, and the position that they were of."""
        self.building: list[str] = []
        """Read models that this release has not made live yet: there is nothing to compare."""
        self._check = LogCheck(log, self._report)
        self._states = [(law, [law.initial]) for law in laws]
        self._folders = [Folder(projection, "") for projection in projections]
        self._folded: dict[str, dict[str, tuple[Any, int]]] = {p.name: {} for p in projections}

    @property
    def events(self) -> int:
        """How many have been looked at."""
        return self._check.events

    @property
    def end(self) -> Head:
        """Where the log ends, and the hash of its last event."""
        return self._check.end

    def _report(self, what: str, where: object) -> None:
        self.problems.append(Problem(what=what, where=str(where)))

    async def run(
        self, progress: Callable[[int, int], None] = lambda _done, _all: None
    ) -> list[Problem]:
        """Check everything that is there when it is come to."""
        reached = (await self._log.mongo.run(checkpoint_of)).position
        await self._log.mongo.run(self._leave_out)
        last = (await self._log.head()).position
        after = -1
        while batch := await raw_events(self._log, after, SCAN_BATCH):
            after = batch[-1]["_id"]
            events = [recorded for raw in batch for recorded in self._check.take(raw)]
            self._hold_to_laws(events)
            self._fold([recorded for recorded in events if recorded.position <= reached])
            progress(self.end.position, last)
        await self._check.finish()
        for law, (state,) in self._states:
            for breach in law.at_last(state):
                self._report(f"{law.name}: {breach}", "the whole log")
        try:
            reached = await self._folded_to_few(reached)
            found = await self._log.mongo.run(lambda db: self._compare(db, reached))
        except Unreadable as error:
            self._report(f"documents cannot be compared: {error}", reached)
        else:
            await self._tell(found)
        return self.problems

    def _hold_to_laws(self, events: Iterable[Recorded]) -> None:
        for law, state in self._states:
            for recorded in events:
                if isinstance(recorded.event, law.events):
                    state[0] = law.evolve(state[0], recorded.event)
                    for breach in law.breaches(recorded.event):
                        self._report(f"{law.name}: {breach}", recorded.position)

    # -- folding again

    def _leave_out(self, db: SyncDatabase) -> None:
        """What operators have skipped. What waits is folded as well: it is told where it fails."""
        for folder in self._folders:
            folder.skipped = skipped_in(db, folder.projection)

    def _fold(self, events: Sequence[Recorded]) -> None:
        for folder in self._folders:
            touched = folder.touched(events)
            folder.expect_new(touched)
            changed, failed = folder.fold(touched)
            folder.hold(changed)
            self._folded[folder.projection.name].update(changed)
            for one in failed:
                folder.parked[one.key] = one.position
                self._report(f"cannot be folded at {one.position}: {one.error}", _place(one))

    async def _folded_to_few(self, reached: int) -> int:
        """Fold what has been projected meanwhile, but for a few events; the position come to."""
        while True:
            now = (await self._log.mongo.run(checkpoint_of)).position
            if now - reached <= FEW:
                return reached
            async for events in self._log.scan(reached, now):
                self._fold(events)
            reached = now

    # -- comparing

    def _compare(self, db: SyncDatabase, reached: int) -> list[Difference]:
        """How the documents differ, all read at one moment."""
        with db.client.start_session(snapshot=True) as session:
            at = checkpoint_of(db, session)
            self.compared_at = at.position
            if at.position > self.end.position and not self._is_there(db, at.position):
                self._report(f"the read models are at {at.position}", "beyond the end of the log")
            self._fold(self._log.read_within(db, session, reached, at.position))
            self._tell_parked(db, session)
            return [
                found
                for folder in self._folders
                for found in self._compare_one(db, session, folder, at)
            ]

    def _is_there(self, db: SyncDatabase, position: int) -> bool:
        """Whether the log has grown to there meanwhile."""
        return db[EVENTS].find_one({"_id": position}) is not None

    def _tell_parked(self, db: SyncDatabase, session: Session) -> None:
        for row in db[PARKED].find(session=session):
            self._report(f"parked: {row['error']}", f"{row['projection']}/{row['key']}")

    def _compare_one(
        self, db: SyncDatabase, session: Session, folder: Folder, at: Checkpoint
    ) -> Iterable[Difference]:
        name, collection = folder.projection.name, live_collection(at, folder.projection)
        if collection is None:
            self.building.append(name)
            return
        folded = self._folded.pop(name)
        unsure = folder.uncertain(left_out_in(db, folder.projection, session))
        for document in db[collection].find(session=session):
            self.documents += 1
            key = document["_id"]
            view, position = folded.pop(key, (None, 0))
            expected = None if view is None else as_read(document_of(key, view, position))
            found = difference(name, key, at.position, expected, document)
            if found and key not in unsure:
                yield found
        for key, (view, position) in folded.items():
            if view is not None and key not in unsure:
                expected = as_read(document_of(key, view, position))
                if missing := difference(name, key, at.position, expected, None):
                    yield missing

    async def _tell(self, found: Sequence[Difference]) -> None:
        projections = {folder.projection.name: folder.projection for folder in self._folders}
        for name, group in groupby(found, key=attrgetter("projection")):
            of_one = list(group)
            with suppress(Unreadable):  # that has been told; then no event can be named
                first = await explained(self._log, projections[name], of_one[:MOST_EXPLAINED])
                of_one = [*first, *of_one[MOST_EXPLAINED:]]
            for each in map(shortened, of_one):
                self._report(str(each), _place(each))


def _place(found: Any) -> str:
    return f"{found.projection}/{found.key}"


async def verify(
    log: Log, projections: Sequence[Projection], laws: Sequence[Law] = ()
) -> Verification:
    """Check everything; what was found is in `problems`."""
    verification = Verification(log, projections, laws)
    await verification.run()
    return verification
