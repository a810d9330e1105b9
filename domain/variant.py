"""What a variant is: a rule that is another one. A branch is folded with what it says.

It is pure, and goes story by story: `rewrite(rule, state, event)` answers with the state of the
story after the event (None: nothing to remember) and with what has happened instead of the event;
None where nothing has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

R = TypeVar("R")


@dataclass(frozen=True)
class Variant(Generic[R]):
    """`rule` is the type of its parameters, `events` are all that it looks at."""

    name: str
    rule: type[R]
    events: tuple[type, ...]
    story_of: Callable[[Any], str]
    rewrite: Callable[[R, Any, Any], tuple[Any, Any]]
