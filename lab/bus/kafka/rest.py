"""How long a consumer leaves its group alone between a member that failed and the next one.

Each join has the whole group share out its partitions anew: a member that fails as soon as it has
joined must not do that ten times a second. Not here: what fails (`consumer.py`).
"""

from math import inf
from typing import Final

FIRST_S: Final = 0.5
MOST_S: Final = 15.0
HELD_S: Final = 60.0
"""A member that held so long fails for another reason than the ones before it."""


class Rest:
    """The rests of one consumer; each is twice as long as the one before, up to a bound.

    Attributes:
        until_s: when the next member may join, on the event loop's clock.
    """

    def __init__(self) -> None:
        self.until_s = -inf
        self._began_s = -inf
        self._last_s = 0.0

    def began(self, now_s: float) -> None:
        """A member joins."""
        self._began_s = now_s

    def broke(self, now_s: float) -> None:
        """It cannot go on."""
        held = now_s - self._began_s >= HELD_S
        self._last_s = FIRST_S if held or not self._last_s else min(2 * self._last_s, MOST_S)
        self.until_s = now_s + self._last_s
