"""What a benchmark comes to: figures with their targets, printed as one table."""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

ROUNDS: Final = 3

Work: TypeAlias = Callable[[], Awaitable[float]]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """`value` is ours; `other` is what it is held against, in the same unit and the same run.

    `least` is a target for value / other, `most` one for the value itself. Without either the
    figure is for information.
    """

    what: str
    value: float
    unit: str
    other: float | None = None
    against: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.other is None else self.value / self.other

    @property
    def target(self) -> str:
        if self.least is not None:
            return f">= {self.least:g} x"
        return "" if self.most is None else f"<= {self.most:g} {self.unit}"

    @property
    def verdict(self) -> str:
        if self.least is not None:
            assert self.ratio is not None, "a ratio needs something to be held against"
            return "met" if self.ratio >= self.least else "MISSED"
        if self.most is not None:
            return "met" if self.value <= self.most else "MISSED"
        return ""

    @property
    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} x"
        other = "" if self.other is None else number(self.other)
        unit, against = self.unit, self.against
        return (self.what, number(self.value), unit, other, against, ratio, self.target)


HEAD: Final = ("what", "ours", "unit", "other", "held against", "ratio", "target", "verdict")


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(figures: Iterable[Figure]) -> str:
    """All figures below each other, columns aligned."""
    rows = [HEAD, *((*figure.cells, figure.verdict) for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


async def in_turns(*works: Work) -> list[float]:
    """Rounds in which the works take turns, after one that warms up: the round in the middle, by
    the ratio of the first two. What else the machine does meanwhile hits both of a round."""
    for work in works:
        await work()
    rounds = [[await work() for work in works] for _ in range(ROUNDS)]
    return sorted(rounds, key=lambda seen: seen[0] / seen[1])[ROUNDS // 2]


async def rate(work: Callable[[], Awaitable[int]]) -> float:
    """Things done per second."""
    started = time.perf_counter()
    done = await work()
    return done / (time.perf_counter() - started)


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
