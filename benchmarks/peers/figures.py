"""What rounds say together: the median with its spread, and whether two differ at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the rounds, the lowest and the highest."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value.

        Raises:
            ValueError: there is none.
        """
        if not values:
            raise ValueError("no round has measured this")
        return cls(median(values), min(values), max(values))

    @property
    def is_there_a_difference(self) -> bool:
        """Of a ratio: whether all rounds agree on which side of 1 it is."""
        return self.low > 1 or self.high < 1


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours by theirs, round by round: what slows both down in a round is in neither.

    Raises:
        ValueError: they have not as many rounds, or one of theirs is not above 0.
    """
    if len(ours) != len(theirs) or any(value <= 0 for value in theirs):
        raise ValueError(f"rounds do not pair: {ours!r} and {theirs!r}")
    return Spread.of([one / other for one, other in zip(ours, theirs, strict=True)])
