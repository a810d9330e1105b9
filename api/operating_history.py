"""`tidings history ID`: what an aggregate has been, version by version."""

from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console

from api.history import DECIDERS, changes_of, reason_of
from api.runtime import open_log
from infra.history import Version, history
from infra.settings import SettingInvalid, Settings

PAGE: Final = 10_000
"""Versions that are folded at once."""

console = Console(highlight=False, markup=False)


async def print_history(settings: Settings, id: str) -> bool:
    """Whether there is anything of that id; all its versions are printed."""
    decider = DECIDERS.get(id.partition("-")[0])
    if decider is None:
        kinds = ", ".join(f"{category}-…" for category in DECIDERS)
        raise SettingInvalid(f"There is no history of {id}: ids are {kinds}.")
    printed = 0
    async with open_log(settings) as (events, _):
        while True:
            found = await history(events, decider, id, printed, PAGE)
            for version in found.versions:
                printed = version.number
                for line in _lines(version):
                    console.print(line, soft_wrap=True)
            if printed >= found.last:
                return printed > 0


def _lines(version: Version) -> Iterable[str]:
    first, reason = version.events[0], reason_of(version)
    names = ", ".join(type(recorded.event).__name__ for recorded in version.events)
    because = f" ({reason})" if reason else ""
    yield f"{version.number}  {first.event.at:%Y-%m-%d %H:%M:%S}  {names}"
    yield f"   {first.meta.command} by {first.meta.actor}{because}"
    for change in changes_of(version):
        yield f"   {change.path}: {_text(change.before)} → {_text(change.after)}"


def _text(value: Any) -> str:
    return "nothing" if value is None else repr(value)
