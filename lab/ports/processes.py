"""Concurrency for code that must not know the event loop."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Tasks(Protocol):
    """Runs several calls at once."""

    async def together(
        self,
        calls: Sequence[Callable[[], Awaitable[T]]],
        *,
        until: Callable[[T], bool],
    ) -> list[T | None]:
        """Results in the order of `calls`; None for a call that was cancelled.

        As soon as a result satisfies `until`, the calls that still run are cancelled. The first
        error cancels the others and is raised, unless a decisive result came before it.
        Cancelling the caller cancels all calls.
        """
        ...
