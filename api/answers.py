"""The answer of a query or mutation, whatever carries it: a websocket or an event stream."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from api.auth import Principal
from api.execution import Answer, Context, Executor, Prepared

OpenContext: TypeAlias = Callable[[Principal, str], AbstractAsyncContextManager[Context]]
"""Each operation has a context of its own, open for exactly as long as the operation runs."""


async def answer_in(
    opening: AbstractAsyncContextManager[Context],
    executor: Executor,
    prepared: Prepared,
    variables: Mapping[str, Any],
) -> Answer:
    async with opening as context:
        return await executor.execute(prepared, variables, context)
