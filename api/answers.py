"""The answers of one operation, whatever carries them: a websocket or an event stream.

1. Each operation has a context of its own, open for exactly as long as the operation runs.
2. Closing the generator closes the source under it first, then the context.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeAlias

from api.auth import Principal
from api.execution import Answer, Context, Executor, Prepared
from infra.metrics import SUBSCRIPTION_EXECUTIONS, SUBSCRIPTION_MESSAGES

OpenContext: TypeAlias = Callable[[Principal, str], AbstractAsyncContextManager[Context]]


async def answers(
    executor: Executor,
    prepared: Prepared,
    variables: Mapping[str, Any],
    opening: AbstractAsyncContextManager[Context],
) -> AsyncGenerator[Answer, None]:
    """One answer of a query or mutation, every answer of a subscription."""
    async with opening as context:
        if prepared.kind != "subscription":
            yield await executor.execute(prepared, variables, context)
            return
        async with aclosing(await executor.subscribe(prepared, variables, context)) as source:
            async for answer in source:
                SUBSCRIPTION_EXECUTIONS.inc()
                yield answer
                SUBSCRIPTION_MESSAGES.inc()
