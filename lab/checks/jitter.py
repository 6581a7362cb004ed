"""The spread of the backoff in place, over a whole run.

Full jitter is even between nothing and the longest backoff of an attempt. With enough of them that
shows: without jitter all who failed together come back together. Not here: the bounds of a single
delay (`promises/retries`).
"""

from collections import Counter
from typing import Final

from lab.history.calls import RetryingEntry

_EQUAL_MIN: Final = 12
"""So many delays are enough to tell that most of them are the same."""

_HALF_MIN: Final = 40
"""So many delays tell that a half of the range is never drawn: by chance once in 2^39 runs."""

_KEPT: Final = 4_096
_COARSE_US: Final = 1_000
"""A shorter backoff has too few values to tell anything."""


class Jitter:
    """The delays of retries in place.

    The delay of an event's attempt is the same whenever it is drawn, so it counts once.

    Attributes:
        first: the process that drew the first one, "" without any.
    """

    def __init__(self) -> None:
        self.first = ""
        self._drawn: dict[tuple[str, int], tuple[int, int]] = {}

    def draw(self, retrying: RetryingEntry, most_us: int) -> None:
        """The backoff of an attempt, and the longest that it could have been."""
        self.first = self.first or retrying.process
        if most_us >= _COARSE_US and len(self._drawn) < _KEPT:
            drawn = (retrying.delay_us, most_us)
            self._drawn.setdefault((retrying.event_id, retrying.attempt), drawn)

    def fault(self) -> str:
        """What is wrong with the spread; "" if nothing is, or if too little is known."""
        by_attempt: dict[int, list[int]] = {}
        for (_, attempt), (delay_us, _) in self._drawn.items():
            by_attempt.setdefault(attempt, []).append(delay_us)
        for attempt, delays in by_attempt.items():
            ((same_us, count),) = Counter(delays).most_common(1)
            if len(delays) >= _EQUAL_MIN and 2 * count > len(delays):
                drawn = f"{count} of {len(delays)} delays after attempt {attempt}"
                return f"{drawn} were {same_us / 1e6:.3f}s"
        if len(self._drawn) >= _HALF_MIN:
            short = sum(2 * delay_us < most_us for delay_us, most_us in self._drawn.values())
            if short in (0, len(self._drawn)):
                half = "lower" if short else "upper"
                return f"all {len(self._drawn)} delays in place lay in the {half} half"
        return ""
