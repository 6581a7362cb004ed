"""A figure of a bench: a measured value, its raw baseline, their ratio, and the goal.

Not here: which figures there are (`simulated_figures`, `real_figures`), and measuring.
"""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final, Literal

import msgspec

Of = Literal["ratio", "value"]

SCHEMA_VERSION: Final = 3
"""Of the reports that hold figures."""

READABLE: Final = (2, 3)
"""Versions of earlier reports whose figures mean the same as those of today."""


class BenchGoal(msgspec.Struct, frozen=True, kw_only=True):
    """The goal of a figure.

    Attributes:
        of: the number that it is about.
        bound: on which side of `limit` that number should be.
    """

    of: Of
    bound: Literal["at most", "at least"]
    limit: float

    def is_reached(self, number: float) -> bool:
        """Whether a measured number is on the right side."""
        return number <= self.limit if self.bound == "at most" else number >= self.limit


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured figure.

    Attributes:
        name: of the measurement, in a few words.
        value: median over the rounds, in `unit`.
        unit: of `value` and `baseline`.
        baseline: median of the baseline over the same rounds, in `unit`.
        against: the baseline in a few words.
        ratio: value / baseline.
        low, high: smallest and largest over the rounds of the number that the goal is about; of
            the ratio without a goal.
        goal: null for a figure that only informs.
        reached: whether the goal is reached; null without one, and where the spread covers the
            limit: then it is too noisy to tell.
        how: how it was measured.
        part: the name by which `--only` asks for it; "" in reports before version 3.
    """

    name: str
    value: float
    unit: str
    baseline: float
    against: str
    ratio: float
    low: float
    high: float
    goal: BenchGoal | None
    reached: bool | None
    how: str
    part: str = ""


def at_most(limit: float, of: Of = "ratio") -> BenchGoal:
    """A goal that is missed above `limit`."""
    return BenchGoal(of=of, bound="at most", limit=limit)


def at_least(limit: float, of: Of = "ratio") -> BenchGoal:
    """A goal that is missed below `limit`."""
    return BenchGoal(of=of, bound="at least", limit=limit)


def of_part(part: str, figures: Iterable[Figure]) -> tuple[Figure, ...]:
    """The figures, with the name of their part."""
    return tuple(msgspec.structs.replace(figure, part=part) for figure in figures)


def make_figure(
    name: str,
    pairs: Sequence[tuple[float, float]],
    *,
    unit: str,
    against: str,
    how: str,
    goal: BenchGoal | None = None,
) -> Figure:
    """A figure out of a value and a baseline for each round.

    Raises:
        ValueError: there is no round, or a baseline is not above 0.
    """
    if not pairs or any(baseline <= 0 for _, baseline in pairs):
        raise ValueError(f"{name}: every figure needs a baseline above 0, not {pairs!r}")
    value = median(one for one, _ in pairs)
    baseline = median(base for _, base in pairs)
    ratio = value / baseline
    of_value = goal is not None and goal.of == "value"
    spread = [one if of_value else one / base for one, base in pairs]
    low, high = min(spread), max(spread)
    reached = None
    if goal is not None and not (low != high and low <= goal.limit <= high):
        reached = goal.is_reached(value if of_value else ratio)
    return Figure(
        name=name,
        value=value,
        unit=unit,
        baseline=baseline,
        against=against,
        ratio=ratio,
        low=low,
        high=high,
        goal=goal,
        reached=reached,
        how=how,
    )
