"""`python -m tests.bench [name ...]`: all benchmarks, or those named, in one table."""

import argparse
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import uvloop

from infra.embedded import embedded_mongod
from infra.interpreter import prepare_interpreter
from tests.bench.chaining import chaining
from tests.bench.crowding import crowding
from tests.bench.feeding import feeding
from tests.bench.figures import Figure, table
from tests.bench.listing import listing
from tests.bench.loading import loading
from tests.bench.mixing import mixing
from tests.bench.place import Place
from tests.bench.pushing import pushing
from tests.bench.relaying import relaying
from tests.bench.remembering import remembering
from tests.bench.scanning import rebuilding
from tests.bench.serving import serving
from tests.bench.writing import append, hot_product

Bench: TypeAlias = Callable[[Place], Awaitable[list[Figure]]]

BENCHES: Final[dict[str, Bench]] = {
    "append": append,
    "hot": hot_product,
    "rebuild": rebuilding,
    "past": remembering,
    "http": serving,
    "list": listing,
    "push": pushing,
    "crowd": crowding,
    "mix": mixing,
    "chain": chaining,
    "load": loading,
    "relay": relaying,
    "feed": feeding,
}


@asynccontextmanager
async def opened() -> AsyncIterator[Place]:
    """The MongoDB at `MONGODB_URI`, or an embedded one for as long as this takes."""
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as folder:
        home = Path(folder)
        if uri := os.environ.get("MONGODB_URI"):
            yield Place(uri, home)
            return
        async with embedded_mongod(home) as mongod:
            yield Place(mongod.uri, home)


async def run(names: list[str]) -> None:
    figures: list[Figure] = []
    async with opened() as place:
        for name in names or BENCHES:
            print(f"{name} ...", flush=True)
            figures += await BENCHES[name](place)
    print(f"\n{table(figures)}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(BENCHES))
    names = parser.parse_args().names
    if unknown := [name for name in names if name not in BENCHES]:
        parser.error(f"no benchmark is called {unknown[0]}; there are {', '.join(BENCHES)}")
    prepare_interpreter()  # as `tidings` does
    uvloop.run(run(names))


if __name__ == "__main__":
    main()
