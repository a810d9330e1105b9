"""`tidings bench`: comparisons that one can run."""

from collections.abc import Iterator, Sequence
from math import ceil
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from api.cli import run, settings_with

if TYPE_CHECKING:
    from api.patterns import Comparison, Cost

benching = typer.Typer(no_args_is_help=True, help="Comparisons that one can run.")


@benching.callback()
def _group() -> None:
    """Comparisons that one can run."""  # with it `patterns` has to be named, though it is alone


@benching.command()
def patterns(
    changes: Annotated[int, typer.Option(min=1, help="How many addresses are changed.")] = 50,
    down: Annotated[float, typer.Option(min=0, help="Seconds that the source is dead.")] = 2.0,
) -> None:
    """What it costs to be told over Kafka of the same changes, by thin messages and by fat ones."""
    from api.patterns import compare  # noqa: PLC0415 the other commands start faster without

    console = Console()
    with console.status("Addresses are changed, and the source is killed ..."):
        comparison = run(compare(settings_with(), changes, down))
    console.print(_table(comparison))
    console.print(_notes(comparison), highlight=False, soft_wrap=True)


def _table(comparison: "Comparison") -> Table:
    table = Table(title=f"{len(comparison.thin)} changes of an address")
    table.add_column()
    table.add_column("thin: notification", justify="right")
    table.add_column("fat: state transfer", justify="right")
    need = comparison.in_need
    thin, fat = _rows(comparison.thin, need.thin), _rows(comparison.fat, need.fat)
    for (name, of_thin), (_, of_fat) in zip(thin, fat, strict=True):
        table.add_row(name, of_thin, of_fat)
    return table


def _notes(comparison: "Comparison") -> str:
    return (
        "Bytes and calls are those of one change; time runs from sending its command.\n"
        "* Of a change that was told just before the source was killed; time runs from its death.\n"
        f"  After {comparison.in_need.away:.1f} s it was started again."
    )


def _rows(costs: Sequence["Cost"], in_need: "Cost") -> Iterator[tuple[str, str]]:
    """What one recipient has to say."""
    seconds = [cost.knows for cost in costs]
    yield "bytes of the message", f"{fmean(cost.message_bytes for cost in costs):.0f}"
    yield "calls back", f"{fmean(cost.calls for cost in costs):g}"
    yield "bytes of calls back", f"{fmean(cost.call_bytes for cost in costs):.0f}"
    yield "knows, p50", f"{_percentile(seconds, 50) * 1_000:.1f} ms"
    yield "knows, p99", f"{_percentile(seconds, 99) * 1_000:.1f} ms"
    yield "source down: hears *", f"{in_need.heard:.3f} s"
    yield "source down: calls in vain *", str(in_need.in_vain)
    yield "source down: knows *", f"{in_need.knows:.3f} s"


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[ceil(len(values) * percent / 100) - 1]
