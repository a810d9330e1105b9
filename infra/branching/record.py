"""What is kept of a branch: what it changes, and how far it has been worked out.

A branch is real history up to `upto`, with changes at positions from `at` on. Every change makes a
new `revision`; `computed` says which one the documents are of.
"""

from datetime import datetime
from typing import Any, Final

from domain.decider import message
from domain.recorded import Meta
from infra.codec import from_stored, to_stored
from infra.mongo import Document, Session, SyncDatabase

BRANCHES: Final = "branches"


@message
class Injected:
    """An event of the branch's own, as an event is stored (see `difference.Own`)."""

    number: int
    after: int
    follows: int
    stream: str
    type: str
    schema: int
    data: dict[str, Any]
    meta: Meta


@message
class Replaced:
    """What stands instead of the event at a position."""

    position: int
    type: str
    schema: int
    data: dict[str, Any]


@message
class Used:
    """A variant by its name, and its rule."""

    name: str
    rule: dict[str, Any]


@message
class Counts:
    """Documents of a read model that differ. Where so many do, the branch has all of them (`whole`)
    and nothing else is looked at."""

    changed: int = 0
    added: int = 0
    removed: int = 0
    whole: bool = False

    @property
    def all(self) -> int:
        return self.changed + self.added + self.removed


@message
class Computed:
    """The documents of a revision: in collections named by `token`, made by these versions of the
    read models. `refused` events make no sense any more."""

    revision: int
    token: str
    versions: dict[str, int]
    documents: dict[str, Counts]
    refused: int


@message
class Branch:
    """`numbers` is how many events of its own it has ever had. `before` is the token of the
    documents before these: who began to read them may finish. `done` of `work` says how far the
    present revision is worked out; `failed` why it cannot be."""

    id: str
    name: str
    owner: str
    created: datetime
    at: int
    upto: int
    revision: int = 1
    numbers: int = 0
    injected: tuple[Injected, ...] = ()
    dropped: tuple[int, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    variants: tuple[Used, ...] = ()
    computed: Computed | None = None
    before: str | None = None
    done: int = 0
    work: int = 0
    failed: str | None = None

    @property
    def changes(self) -> int:
        changes = (self.injected, self.dropped, self.replaced, self.variants)
        return sum(len(each) for each in changes)

    @property
    def share(self) -> float:
        """How far the present revision is worked out, from 0 to 1."""
        return self.done / self.work if self.work else 0.0


def stored_branch(branch: Branch) -> Document:
    document: Document = to_stored(branch)
    document["_id"] = document.pop("id")
    return document


def branch_of(document: Document) -> Branch:
    return from_stored(Branch, {**document, "id": document["_id"]})


def make_again(db: SyncDatabase, session: Session, position: int) -> None:
    """Real documents have changed that are folded from this position: branches that have it in
    their history are worked out anew when they are asked for."""
    later = {"$inc": {"revision": 1}, "$set": {"failed": None, "done": 0, "work": 0}}
    db[BRANCHES].update_many({"upto": {"$gte": position}}, later, session=session)
