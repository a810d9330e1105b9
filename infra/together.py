"""Documents asked for by key, those of many requests in one call.

1. Who asks while no call is under way is served at once; who asks meanwhile shares the next call.
   So a busy server makes fewer calls, and a request alone waits for nobody.
2. A caller that goes away does not take the answer from the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, Final, TypeAlias

MOST_KEYS: Final = 500
"""In one shared call; who asks for more than are left has a call of its own."""

Found: TypeAlias = dict[str, Any]
Fetch: TypeAlias = Callable[[list[str]], Awaitable[Found]]


class _Shared:
    """A call that has not begun: the keys so far, and what there will be under them."""

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}
        self.found: asyncio.Future[Found] = asyncio.get_running_loop().create_future()


class Together:
    """Shares calls among those that ask in the same place, such as a collection at a moment."""

    def __init__(self) -> None:
        self._next: dict[Hashable, _Shared] = {}
        self._under_way: dict[Hashable, asyncio.Task[None]] = {}

    async def get(self, place: Hashable, keys: Iterable[str], fetch: Fetch) -> Found:
        """What there is under these keys; equal places have an equal `fetch`."""
        wanted = dict.fromkeys(keys)
        waiting = self._next.get(place) or _Shared()
        if len(waiting.keys) + len(wanted) > MOST_KEYS:
            return await fetch(list(wanted))
        self._next[place] = waiting
        waiting.keys.update(wanted)
        if place not in self._under_way:
            self._under_way[place] = asyncio.create_task(self._serve(place, fetch))
        found = await asyncio.shield(waiting.found)
        return {key: found[key] for key in wanted if key in found}

    async def _serve(self, place: Hashable, fetch: Fetch) -> None:
        """One call after the other, until nobody waits."""
        while shared := self._next.pop(place, None):
            try:
                shared.found.set_result(await fetch(list(shared.keys)))
            except Exception as error:  # noqa: BLE001 whoever asked must learn of it, whatever it is
                shared.found.set_exception(error)
                shared.found.exception()  # seen, even where all who asked have gone
        del self._under_way[place]
