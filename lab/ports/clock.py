"""Time, as a process sees it."""

from typing import Protocol


class Clock(Protocol):
    """A monotonic clock, a wall clock and a way to wait. All in integer microseconds."""

    def now_us(self) -> int:
        """Monotonic time of this process; only differences mean something."""
        ...

    def wall_us(self) -> int:
        """Time since the Unix epoch; may be skewed against other processes, and may jump."""
        ...

    async def sleep_us(self, us: int) -> None:
        """Wait for at least `us`; zero or less still suspends once. Cancellation ends the wait."""
        ...


class Timer(Protocol):
    """A callback that is due at an instant."""

    def cancel(self) -> object:
        """Never run it, and do not keep a virtual clock waiting for it. Idempotent."""
        ...
