"""Running a plan: the root fields, then level by level what had to wait.

1. What a level needs of one read model is one call, however many rows and fields ask for it.
2. Root fields of a query are resolved side by side, each in a task of its own (they may read from
   different histories, see `api.context`); those of a mutation one after the other.
3. Whatever goes wrong is raised. What the root fields came to is kept, so that graphql-core can
   tell the errors without doing anything twice (`replay`).
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from contextvars import copy_context
from inspect import isawaitable
from typing import Any, TypeAlias, cast

from graphql.execution.values import VariableValues
from strawberry.types.info import Info

from api.plans.parts import Constant, Given, Joined, Later, Plan

Answer: TypeAlias = dict[str, Any]
Waiting: TypeAlias = tuple[Later | Joined, Any, Answer]
"""What is asked for, the parent that it is asked of, and the object of the answer it belongs to."""


class Outcome:
    """What a resolver came to, and the context variables that it left to what is below it."""

    def __init__(self, value: Any = None, error: Exception | None = None) -> None:
        self._value, self._error = value, error
        self._left = copy_context()

    async def again(self) -> Any:
        for variable, value in self._left.items():
            variable.set(value)
        if self._error is not None:
            raise self._error
        return self._value


class Run:
    """One run of a plan. To resolvers it is what graphql-core's `info` would be, as far as ours
    look: its context, and the schema."""

    is_awaitable = staticmethod(isawaitable)
    field_name = ""

    def __init__(self, plan: Plan, context: Any, variables: VariableValues) -> None:
        self.schema, self.context, self.variables = plan.schema, context, variables
        self.later: list[Waiting] = []
        self._plan = plan
        self._resolved: dict[str, Outcome] = {}

    async def data(self, event: Any = None) -> Answer:
        """The data of the answer; `event` is what happened, for a subscription."""
        data: Answer = {}
        waiting: list[Later] = []
        for field in self._plan.fields:
            match field:
                case Constant():
                    data[field.key] = field.value
                case Given():
                    data[field.key] = field.complete(event, self)
                case Later():
                    data[field.key] = None
                    waiting.append(field)
        if len(waiting) <= 1 or self._plan.serial:
            for field in waiting:
                await self.root(field, data)
        else:
            await _together(self._apart().root(field, data) for field in waiting)
        await self._settle()
        return data

    def _apart(self) -> "Run":
        """The same run, with a list of its own of what has to wait."""
        apart = Run(self._plan, self.context, self.variables)
        apart._resolved = self._resolved
        return apart

    def replay(self) -> Callable[..., Any]:
        """A middleware for graphql-core: root fields come to what they have come to here. (A plain
        function: methods it passes over without a word.)"""

        def replayed(resolve: Callable[..., Any], parent: Any, info: Any, **given: Any) -> Any:
            done = self._resolved.get(info.path.key) if info.path.prev is None else None
            return resolve(parent, info, **given) if done is None else done.again()

        return replayed

    async def root(self, field: Later, data: Answer) -> None:
        """Resolve a root field, with all that is below it."""
        try:
            value = await self._value(field, None)
        except Exception as error:
            self._resolved[field.key] = Outcome(error=error)
            raise
        self._resolved[field.key] = Outcome(value)
        data[field.key] = field.complete(value, self)
        await self._settle()

    async def _value(self, field: Later, parent: Any) -> Any:
        info: Info[Any, Any] = Info(_raw_info=cast(Any, self), _field=field.source.field)
        return await field.source.value(parent, info, self.variables)

    async def _settle(self) -> None:
        """Fill in what waits, and what waits in that, until nothing does."""
        while self.later:
            waiting, self.later = self.later, []
            joins: dict[str, list[Any]] = defaultdict(list)
            calls: list[Coroutine[Any, Any, None]] = []
            for field, parent, into in waiting:
                if isinstance(field, Joined):
                    joins[field.projection.name].append((field, parent, into))
                else:
                    calls.append(self._resolve(field, parent, into))
            calls += [self._join(those) for those in joins.values()]
            await _together(calls)

    async def _resolve(self, field: Later, parent: Any, into: Answer) -> None:
        into[field.key] = field.complete(await self._value(field, parent), self)

    async def _join(self, waiting: list[tuple[Joined, Any, Answer]]) -> None:
        """All of them ask for documents of one read model."""
        keys = [field.key(parent) for field, parent, _ in waiting]
        unique = list(dict.fromkeys(keys))
        views = await self.context.load_many(waiting[0][0].projection, unique)
        found = dict(zip(unique, views, strict=True))
        for key, (field, _, into) in zip(keys, waiting, strict=True):
            field.fill(found[key], into, self)


async def _together(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All of them to their ends; then the first error is raised, if there is any."""
    calls = list(calls)
    if len(calls) == 1:
        await calls[0]
        return
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if outcome is not None:
            raise outcome
