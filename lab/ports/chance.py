"""Keyed chance, for code that must not know its source."""

from typing import Protocol


class Chance(Protocol):
    """Draws that are a function of the run's seed and a key, never of an earlier draw."""

    def u(self, *key: str | int) -> float:
        """A number in [0, 1), even."""
        ...
