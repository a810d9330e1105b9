"""One operation from its text to its answer: prepare, check, then execute or subscribe.

1. A root field that `allowed` does not name is for nobody; `__typename` is for everybody.
2. A query that takes too long is cancelled. A mutation is not: the client gets TIMEOUT while the
   command goes on to its end, and learns how it ended by sending the same command id again. The
   same holds when whoever awaits `execute` is cancelled.
3. Resolvers run as under Strawberry's own executor (`info.context`, enums, scalars, unions, field
   extensions); schema extensions and custom operation directives do not.
4. Every answer has been through `answer_errors`.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import suppress
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import strawberry
from graphql import (
    ExecutionResult,
    GraphQLError,
    create_source_event_stream,
    execute_subscription_event,
)
from graphql import Executor as GraphQLExecutor
from graphql.execution.values import VariableValues

from api.auth import Principal, Role
from api.documents import Documents, Prepared
from api.errors import ApiError, ErrorCode, Refused, answer_errors
from api.limits import INTROSPECTION, Budget, check_cost
from api.plans import Plan, Run
from infra import metrics
from infra.settings import Limits

__all__ = ["Answer", "Context", "Executor", "Prepared"]

T = TypeVar("T")

Answer: TypeAlias = dict[str, Any]
Outcome: TypeAlias = tuple[Answer | None, Sequence[GraphQLError]]
"""Data and errors."""
Execution: TypeAlias = GraphQLExecutor[Any]

_COUNTED: Final = {
    how: metrics.OPERATIONS.labels(how) for how in ("planned", "failed", "not covered")
}


class Context(Protocol):
    """What resolvers get as `info.context`, one per operation."""

    @property
    def principal(self) -> Principal: ...

    @property
    def trace_id(self) -> str: ...

    def extensions(self) -> dict[str, Any]:
        """Goes into the answer's `extensions`."""
        ...


class Executor:
    def __init__(
        self,
        schema: strawberry.Schema,
        limits: Limits,
        *,
        introspection: bool,
        allowed: Mapping[str, frozenset[Role]],
    ) -> None:
        self._schema = schema._schema  # noqa: SLF001  the only way to graphql-core's schema
        self._execution: type[Execution] = schema.execution_context_class
        self._limits = limits
        self._introspection = introspection
        self._allowed = allowed
        self._documents = Documents(
            self._schema,
            limits,
            introspection=introspection or any(f"Query.{f}" in allowed for f in INTROSPECTION),
            suggestions=introspection,
        )
        self._budget = Budget(limits.cost_per_minute)
        self._mutations: set[asyncio.Future[Any]] = set()

    def prepare(self, query: str, operation_name: str | None) -> Prepared:
        """Raises `Refused`."""
        return self._documents.prepare(query, operation_name)

    def check(self, prepared: Prepared, variables: Mapping[str, Any], principal: Principal) -> int:
        """The cost, taken off the principal's budget. Raises `ApiError`."""
        for name in prepared.root_fields:
            if not self.may(principal, name):
                raise ApiError(ErrorCode.FORBIDDEN, f"{name} is not open to you.")
        cost = prepared.cost.of(variables)
        check_cost(cost, self._limits)
        self._budget.spend(principal.subject, cost)
        return cost

    def may(self, principal: Principal, root_field: str) -> bool:
        """Whether a root field, such as `Query.order`, is open to this principal."""
        name = root_field.partition(".")[2]
        if name == "__typename" or (self._introspection and name in INTROSPECTION):
            return True
        return not principal.roles.isdisjoint(self._allowed.get(root_field, frozenset()))

    async def execute(
        self, prepared: Prepared, variables: Mapping[str, Any], context: Context
    ) -> Answer:
        """The whole answer of a query or mutation.

        Raises `Refused`, before anything runs, when the variables cannot be coerced.
        """
        values = self._coerced(prepared, variables)
        cost = prepared.cost.of(variables)
        work = self._run(prepared, values, variables, context)
        within = self._let_finish if prepared.kind == "mutation" else self._cut_off
        try:
            data, errors = await within(work)
        except ApiError as error:
            return self._answer(None, [error], cost, context)
        return self._answer(data, errors, cost, context)

    async def _run(
        self,
        prepared: Prepared,
        values: VariableValues,
        variables: Mapping[str, Any],
        context: Context,
    ) -> Outcome:
        """By its plan, if there is one and nothing goes wrong; by graphql-core otherwise."""
        plan = prepared.plans.plan(values)
        if plan is None:
            _COUNTED["not covered"].inc()
            return await self._referred(self._start(prepared, variables, context))
        run = Run(plan, context, values)
        try:
            data = await run.data()
        except Exception:  # noqa: BLE001 whatever it is, graphql-core finds it again and tells it
            _COUNTED["failed"].inc()
            return await self._referred(self._start(prepared, variables, context, run.replay()))
        _COUNTED["planned"].inc()
        return data, ()

    async def _referred(self, execution: Execution) -> Outcome:
        """What graphql-core makes of it."""
        result: Any = execution.execute_operation()
        if execution.is_awaitable(result):
            result = await result
        return result.data, result.errors or ()

    async def subscribe(
        self, prepared: Prepared, variables: Mapping[str, Any], context: Context
    ) -> AsyncGenerator[Answer, None]:
        """`async for answer in await executor.subscribe(...)`; `aclose()` it when done.

        Raises `Refused`, before the first item, when the source cannot start.
        """
        execution = self._start(prepared, variables, context)
        source: Any = create_source_event_stream(execution)
        if execution.is_awaitable(source):
            try:
                source = await self._cut_off(source)
            except ApiError as error:
                raise Refused([error]) from None
        if isinstance(source, ExecutionResult):
            raise Refused(source.errors or ())
        plan = prepared.plans.plan(execution.variable_values)
        cost = prepared.cost.of(variables)
        return self._answers(execution, plan, source, cost, context)

    async def _answers(
        self,
        execution: Execution,
        plan: Plan | None,
        source: AsyncIterable[Any],
        cost: int,
        context: Context,
    ) -> AsyncGenerator[Answer, None]:
        try:
            async for payload in source:
                data, errors = await self._cut_off(self._event(execution, plan, payload, context))
                yield self._answer(data, errors, cost, context)
        except Exception as error:  # noqa: BLE001  a source may fail in any way; it is masked
            yield self._answer(None, [error], cost, context)
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    async def _event(
        self, execution: Execution, plan: Plan | None, payload: Any, context: Context
    ) -> Outcome:
        if plan is not None:
            with suppress(Exception):  # whatever it is, graphql-core finds it again and tells it
                return await Run(plan, context, execution.variable_values).data(payload), ()
        result: Any = execute_subscription_event(execution.build_per_event_executor(payload))
        if execution.is_awaitable(result):
            result = await result
        return result.data, result.errors or ()

    async def drain(self) -> None:
        """Wait until no mutation runs any more, those that were given up on included."""
        while self._mutations:
            await asyncio.wait(self._mutations)

    def _coerced(self, prepared: Prepared, variables: Mapping[str, Any]) -> VariableValues:
        """Raises `Refused`."""
        values = prepared.variables.values(
            variables, self._limits.errors, hide_suggestions=not self._introspection
        )
        if isinstance(values, list):
            raise Refused(values, ErrorCode.VALIDATION_FAILED)
        return values

    def _start(
        self,
        prepared: Prepared,
        variables: Mapping[str, Any],
        context: Context,
        *middleware: Callable[..., Any],
    ) -> Execution:
        execution = self._execution.build(
            self._schema,
            prepared.document,
            context_value=context,
            raw_variable_values=dict(variables),
            operation_name=prepared.operation_name,
            max_coercion_errors=self._limits.errors,
            hide_suggestions=not self._introspection,
            middleware=middleware or None,
        )
        if isinstance(execution, list):
            raise Refused(execution, ErrorCode.VALIDATION_FAILED)
        return execution

    async def _cut_off(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await work
        except TimeoutError:
            raise self._too_slow() from None

    async def _let_finish(self, work: Awaitable[T]) -> T:
        task = asyncio.ensure_future(work)
        self._mutations.add(task)
        task.add_done_callback(self._mutations.discard)
        done, _ = await asyncio.wait({task}, timeout=self._limits.seconds)
        if not done:
            raise self._too_slow()
        return task.result()

    def _too_slow(self) -> ApiError:
        return ApiError(ErrorCode.TIMEOUT, f"There was no answer in {self._limits.seconds:g} s.")

    def _answer(
        self, data: Any, errors: Sequence[GraphQLError | Exception], cost: int, context: Context
    ) -> Answer:
        answer: Answer = {"data": data}
        if errors:
            answer["errors"] = answer_errors(errors, context.trace_id, self._limits.errors)
        answer["extensions"] = {**context.extensions(), "cost": cost}
        return answer
