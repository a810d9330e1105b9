"""`make kafka`: a broker to try things with, until Ctrl-C.

What Apache Kafka was told stays under .tidings/kafka-node/.
"""

import argparse
import signal
import sys

from tests.kafka.brokers import (
    SMALL_CANNOT,
    STATE,
    BrokerUnavailable,
    apache_is_here,
    broker,
    listens,
)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.kafka")
    options.add_argument("--port", type=int, default=9092)
    options.add_argument("--small", action="store_true", help="the small broker, in memory")
    asked = options.parse_args()
    small = asked.small or not apache_is_here()
    if listens(asked.port):
        sys.exit(f"Port {asked.port} is taken: make kafka ARGS='--port {asked.port + 1}'")
    try:
        run(asked.port, small=small)
    except BrokerUnavailable as reason:
        sys.exit(str(reason))


def run(port: int, *, small: bool) -> None:
    node = broker(STATE / "kafka-node", port, small=small)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    try:
        node.start()
        print(f"{node.name} (Ctrl-C stops it)", flush=True)
        for name, value in node.settings.items():
            print(f"export {name}={value}", flush=True)
        if small:
            print(f"It cannot {SMALL_CANNOT}.", file=sys.stderr)
        node.wait()
    finally:
        node.stop()


if __name__ == "__main__":
    main()
