"""Claims of events in the dedupe store: who completed one that somebody else had taken over.

Fences say who was first; who answers whom first in the history says nothing.
"""

from typing import Final, Generic, TypeVar

from lab.checks.order_case import Owed
from lab.history import shapes

T = TypeVar("T")

REMEMBERED: Final = 8_192
"""So many events are remembered, at least, until a takeover of one of them is heard of."""

BEFORE_US: Final = 5_000_000
"""A completion told so long before a takeover was none of the claim that was taken over."""


class Claims:
    """Takeovers and completions of one run."""

    def __init__(self) -> None:
        self._usurped: dict[Owed, tuple[shapes.Complete, shapes.Claim]] = {}
        self._takeovers: dict[Owed, shapes.Claim] = {}
        self._completions: _Recent[shapes.Complete] = _Recent()
        self._fresh: _Recent[tuple[shapes.Claim, ...]] = _Recent()

    @property
    def usurped(self) -> tuple[tuple[str, str, str], ...]:
        """Completions accepted after somebody else had taken over: (process, group, event id)."""
        return tuple((completed[2], *owed) for owed, (completed, _) in self._usurped.items())

    def claimed(self, entry: shapes.Claim) -> None:
        """A claim was answered."""
        owed = entry[4:6]
        if entry[6] == "acquired":
            self._fresh.put(owed, (*(self._fresh.get(owed) or ()), entry))
            if owed in self._usurped:
                self._compare(*self._usurped.pop(owed))
        elif entry[6] == "takeover":
            before = self._takeovers.get(owed)
            if before is None or before[7] < entry[7]:
                self._takeovers[owed] = entry
            told = self._completions.get(owed)
            if told is not None:
                self._compare(told, entry)

    def completed(self, entry: shapes.Complete) -> None:
        """A completion was answered."""
        if not entry[7]:
            return
        owed = entry[4:6]
        self._completions.put(owed, entry)
        taken_over = self._takeovers.get(owed)
        if taken_over is not None:
            self._compare(entry, taken_over)

    def _compare(self, completed: shapes.Complete, taken_over: shapes.Claim) -> None:
        """What is completed is never taken over: who has a lower fence completed it later.

        Only a store that has forgotten the completion hands the event out anew: somebody got it
        then without taking it over, or, if nobody told that, the first takeover comes after a
        whole lease. A process knows the order of what it did itself.
        """
        owed = completed[4:6]
        is_anew = any(
            completed[6] < fresh[7] < taken_over[7] and fresh[1] >= completed[1]
            for fresh in self._fresh.get(owed) or ()
        )
        is_own = completed[2] == taken_over[2]
        is_later = completed[1] > taken_over[1] - (0 if is_own else BEFORE_US)
        if completed[6] < taken_over[7] and is_later and not is_anew:
            self._usurped[owed] = (completed, taken_over)


class _Recent(Generic[T]):
    """What was put last, by event; of the `REMEMBERED` latest events at least.

    Two generations, so that a run of any length takes bounded memory.
    """

    def __init__(self) -> None:
        self._young: dict[Owed, T] = {}
        self._old: dict[Owed, T] = {}

    def put(self, owed: Owed, what: T) -> None:
        if len(self._young) >= REMEMBERED:
            self._young, self._old = {}, self._young
        self._young[owed] = what

    def get(self, owed: Owed) -> T | None:
        return self._young.get(owed) or self._old.get(owed)
