"""The interpreter, set for a program that makes many short-lived values and answers many at once.

1. Garbage: events and documents hold no cycles, counting references frees them at once. By its
   defaults the collector would still walk all that is remembered, again and again, while many are
   being decoded: half the time of a scan, a fifth of that of a request.
2. Turns: a thread that works (projecting, encoding a commit) gives the event loop its turn only
   when it is asked to, and by default that takes 5 ms, at each step of each request.
"""

import gc
import sys
from typing import Final

YOUNG: Final = 1_000
"""Values made before the collector looks for cycles among them: a fifth of a millisecond."""

MIDDLING: Final = 10
"""Such looks before it looks at what was young in all of them: some milliseconds, which nobody who
waits for an answer sees. Ten times as many would be as cheap, and seen."""

OLD: Final = 10_000
"""Such looks before it looks at all there is: that is what costs."""

TURN_SECONDS: Final = 0.0002
"""How long a thread may keep the interpreter while another wants it."""


def prepare_interpreter() -> None:
    """To be called once by a process, when its modules are loaded: they are never looked at."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLING, OLD)
    sys.setswitchinterval(TURN_SECONDS)
