"""The garbage collector, set for a program that makes many short-lived values.

Events and documents hold no cycles: counting references frees them at once. By its defaults the
collector would still walk all that is remembered, again and again, while many are being decoded:
half the time of a scan, a fifth of that of a request.
"""

import gc
from typing import Final

YOUNG: Final = 50_000
"""Values made before the collector looks for cycles among them (700 by default)."""


def collect_rarely() -> None:
    """To be called once by a process, when its modules are loaded: they are never looked at."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 100)
