"""The progress of a bench, for the people who wait for it."""

from collections.abc import Callable

OnProgress = Callable[[int, int, str], None]
"""Called with (measurements done, all of them, name of the one that begins)."""


class Progress:
    """Counts measurements.

    Args:
        total: how many there will be.
        on_progress: told of each one that begins; None: nobody is.
    """

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._total = total
        self._on_progress = on_progress
        self._done = 0

    def begin(self, measurement: str) -> None:
        """The next measurement begins."""
        if self._on_progress is not None:
            self._on_progress(self._done, self._total, measurement)
        self._done += 1
