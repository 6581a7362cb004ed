"""Keyed chance, as those see it who must not know where it comes from."""

from typing import Protocol


class Chance(Protocol):
    """Draws that are a function of the run's seed and a key, never of what was drawn before."""

    def u(self, *key: str | int) -> float:
        """A number in [0, 1), even."""
        ...
