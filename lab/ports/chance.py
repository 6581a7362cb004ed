"""Keyed chance, for code that must not know its source."""

from collections.abc import Callable
from typing import Protocol

Draw = Callable[[str, int], float]
"""`draw(text, number)`: a draw for a key that ends in these two parts, such as order and count."""


class Chance(Protocol):
    """Draws that are a function of the run's seed and a key, never of an earlier draw."""

    def u(self, *key: str | int) -> float:
        """A number in [0, 1), even."""
        ...

    def under(self, *first: str | int) -> Draw:
        """`u` of the keys that begin with these parts: cheaper, for whoever draws many such."""
        ...
