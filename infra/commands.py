"""The one command handler: decide, then commit in groups.

1. Whatever waits is one group and one transaction; a command alone waits for nobody.
2. Within a group commands are decided one after the other in memory, each on the result of the
   one before, so that a hot stream costs no conflicts.
3. A decision holds as of the position it is committed at: when others have appended meanwhile,
   the group is decided again on what they did (`Behind`).
4. A command id is answered once: a repeat gets the recorded answer, another input is refused.
5. A command that breaks (a bug, a value that cannot be stored) breaks alone, not its group.
"""

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.decider import Decider, DomainError, Joint
from infra import metrics
from infra.aggregates import Aggregates
from infra.answers import Accepted, Answer, AnswerCodec, Request, repeated
from infra.deciding import Decisions
from infra.log import Behind, CommandSeen, Head, Log, VersionTaken
from infra.mongo import Unavailable
from infra.snapshots import SnapshotWriter
from infra.together import Together

MOST_IN_GROUP: Final = 256
ATTEMPTS: Final = 50
FAR_BEHIND: Final = 10_000
"""Events of others beyond which it is cheaper to forget than to follow."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A command, and who has asked for it: whoever asks has a future of its own, which may go."""

    request: Request
    identity: str
    callers: list[asyncio.Future[Answer]]
    answered: bool = False


class CommandHandler:
    """Decides commands and appends their events; `run` must be running."""

    def __init__(
        self,
        log: Log,
        deciders: Sequence[Decider[Any, Any, Any]],
        joints: Iterable[Joint[Any]],
        errors: Iterable[type[DomainError]],
    ) -> None:
        self._log = log
        by_category = {decider.category: decider for decider in deciders}
        self._snapshots = SnapshotWriter(log.mongo, by_category)
        self._aggregates = Aggregates(log, deciders, self._snapshots.save)
        self._decisions = Decisions(self._aggregates, deciders, joints)
        self._codec = AnswerCodec(errors)
        self._recorded = Together()
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._in_flight: dict[str, _Waiting] = {}
        self._head: Head | None = None
        self._stopped = False
        self._repeats = False
        """Whether the last group held repeats: then the next one may, and is looked up first."""

    async def handle(self, request: Request) -> Answer:
        """The answer to a command, once it is durable; raises `Unavailable`.

        Cancelling the caller does not cancel the command: sent again, it answers the same.
        """
        identity = request.identity()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        same = self._in_flight.get(request.command_id)
        if same is not None:
            same.callers.append(answer)
            return repeated(await answer, same=same.identity == identity)
        if self._stopped:
            raise Unavailable("the server is stopping")
        waiting = _Waiting(request, identity, [answer])
        self._in_flight[request.command_id] = waiting
        self._queue.append(waiting)
        self._wake.set()
        return await answer

    async def recorded(self, command_id: str) -> Answer | None:
        """The answer that was given under this id; None where there is none yet."""
        found = await self._recorded.get("commands", [command_id], self._log.commands)
        return self._codec.recorded(found[command_id]) if command_id in found else None

    async def run(self) -> None:
        """Commit groups until cancelled; a group under way is finished, what waits is told."""
        writing = asyncio.create_task(self._snapshots.run())
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    group = self._next_group()
                    metrics.GROUP_SIZE.observe(len(group))
                    with metrics.COMMIT_SECONDS.time():
                        await _finished(self._commit(group))
        finally:
            writing.cancel()
            self._stopped = True
            self._queue.clear()
            for waiting in list(self._in_flight.values()):
                self._settle(waiting, Unavailable("the server is stopping"))

    @property
    def waiting(self) -> int:
        """Commands that have no answer yet."""
        return len(self._in_flight)

    def _next_group(self) -> list[_Waiting]:
        return [self._queue.popleft() for _ in range(min(MOST_IN_GROUP, len(self._queue)))]

    async def _commit(self, group: list[_Waiting]) -> None:
        attempt = 0
        try:
            while not await self._attempt(group, trusting=attempt == 0):
                attempt += 1
                group = [waiting for waiting in group if not waiting.answered]
                if attempt == ATTEMPTS:
                    raise Unavailable("other writers were faster, again and again")  # noqa: TRY301 told to all below
                await asyncio.sleep(random.random() * min(attempt, 10) / 1000)  # noqa: S311 fairness, not secrecy
        except Exception as error:  # noqa: BLE001 whoever waits must learn of it, whatever it is
            self._forget()
            await self._failed(group, error)

    async def _failed(self, group: list[_Waiting], error: Exception) -> None:
        """Tell those who wait; where one command may be to blame, try each on its own first."""
        alone = len(group) == 1 or isinstance(error, Unavailable)
        for waiting in group:
            if alone:
                self._settle(waiting, error)
            else:
                await self._commit([waiting])

    async def _attempt(self, group: list[_Waiting], *, trusting: bool) -> bool:
        """Decide and append; False when it has to be done again on newer facts."""
        if self._repeats:
            group = await self._not_seen(group)
        if not group:
            return True
        if self._head is None:
            self._head = await self._log.head()
        requests = [waiting.request for waiting in group]
        decided = await self._decisions.decide(requests, self._head, trusting=trusting)
        answers = decided.answers
        records = [self._codec.record(w.identity, a) for w, a in zip(group, answers, strict=True)]
        try:
            self._head = await self._log.append(decided.head, decided.events, records)
        except Behind:
            metrics.RETRIES.labels("behind").inc()
            await self._catch_up(decided.head)
            return False
        except VersionTaken:
            metrics.RETRIES.labels("version").inc()
            self._forget()
            return False
        except CommandSeen:
            metrics.RETRIES.labels("repeat").inc()
            self._repeats = True
            return False
        self._aggregates.keep(decided.changed)
        for waiting, answer in zip(group, answers, strict=True):
            self._settle(waiting, answer)
        _count(answers, len(decided.events), self._head.position)
        return True

    async def _catch_up(self, known: Head) -> None:
        head = await self._log.head()
        if head.position - known.position > FAR_BEHIND:
            self._aggregates.forget()
        else:
            self._aggregates.follow(await self._log.read(known.position, head.position))
        self._head = head

    def _forget(self) -> None:
        """Trust nothing in memory: it is loaded anew."""
        self._head = None
        self._aggregates.forget()

    async def _not_seen(self, group: list[_Waiting]) -> list[_Waiting]:
        """Answer those of the group that have been recorded before; the others are left."""
        records = await self._log.commands([w.request.command_id for w in group])
        for waiting in group:
            record = records.get(waiting.request.command_id)
            if record is not None:
                same = record["identity"] == waiting.identity
                self._settle(waiting, repeated(self._codec.recorded(record), same=same))
        self._repeats = bool(records)
        return [waiting for waiting in group if not waiting.answered]

    def _settle(self, waiting: _Waiting, answer: Answer | Exception) -> None:
        if self._in_flight.get(waiting.request.command_id) is waiting:
            del self._in_flight[waiting.request.command_id]
        waiting.answered = True
        for caller in waiting.callers:
            if caller.done():
                continue  # it has gone
            if isinstance(answer, Exception):
                caller.set_exception(answer)
                caller.exception()  # it counts as seen even when the caller goes now
            else:
                caller.set_result(answer)


def _count(answers: Sequence[Answer], events: int, position: int) -> None:
    accepted = sum(isinstance(answer, Accepted) for answer in answers)
    metrics.COMMANDS.labels("accepted").inc(accepted)
    metrics.COMMANDS.labels("refused").inc(len(answers) - accepted)
    metrics.EVENTS.inc(events)
    metrics.HEAD_POSITION.set(position)


async def _finished(work: Any) -> None:
    """Await `work` to its end, also when cancelled meanwhile; then be cancelled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
