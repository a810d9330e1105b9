"""A process that serves beside another one, which starts it (`api/workers.py`).

`python -m api.worker DESCRIPTOR` finds its settings on its standard input, and the listening socket
under that number. When the input ends the process that started it is gone, and this one goes too.
"""

import os
import pickle
import signal
import socket
import sys
import threading
from math import ceil
from typing import Final

from api.cli import run
from api.logs import configure_logs
from api.serving import serve_beside
from infra.mongo import Unavailable
from infra.settings import Settings

INPUT: Final = 0


def main() -> None:
    """Serve until told to end, or left alone."""
    settings: Settings = pickle.load(sys.stdin.buffer)  # noqa: S301 our own, from who started us
    configure_logs(settings.log_level)
    most = ceil(2 * settings.drain_seconds + 5)
    threading.Thread(target=_follow_parent, args=(most,), daemon=True).start()
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        try:
            run(serve_beside(settings, listener))
        except Unavailable as why:
            sys.exit(f"tidings: {why}")


def _follow_parent(seconds: int) -> None:
    """Drain when the parent is gone, and end within `seconds` whatever happens. A thread of its
    own, and an alarm that nothing handles: they work when all else hangs."""
    os.read(INPUT, 1)
    signal.alarm(seconds)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
