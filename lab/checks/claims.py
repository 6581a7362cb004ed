"""Claims of events in the dedupe store: who completed one that somebody else had taken over.

Fences say who was first; who answers whom first in the history says nothing.
"""

from typing import Final

from lab.checks.cases import Owed
from lab.history import shapes

REMEMBERED: Final = 8_192
"""So many completions are remembered, at least, until a takeover of their event is heard of."""

BEFORE_US: Final = 5_000_000
"""A completion told so long before a takeover was none of the claim that was taken over."""


class Claims:
    """Takeovers and completions of one run.

    Attributes:
        usurped: (process, group, event id) of completions that were accepted after somebody else
            had taken the event over.
    """

    def __init__(self) -> None:
        self.usurped: tuple[tuple[str, str, str], ...] = ()
        self._takeovers: dict[Owed, shapes.Claim] = {}
        # Two generations, so that completions of a run of any length take bounded memory.
        self._young: dict[Owed, shapes.Complete] = {}
        self._old: dict[Owed, shapes.Complete] = {}

    def claimed(self, entry: shapes.Claim) -> None:
        """A claim was answered."""
        if entry[6] != "takeover":
            return
        owed = entry[4:6]
        before = self._takeovers.get(owed)
        if before is None or before[7] < entry[7]:
            self._takeovers[owed] = entry
        told = self._young.get(owed) or self._old.get(owed)
        if told is not None:
            self._compare(told, entry)

    def completed(self, entry: shapes.Complete) -> None:
        """A completion was answered."""
        if not entry[7]:
            return
        owed = entry[4:6]
        if len(self._young) >= REMEMBERED:
            self._young, self._old = {}, self._young
        self._young[owed] = entry
        taken_over = self._takeovers.get(owed)
        if taken_over is not None:
            self._compare(entry, taken_over)

    def _compare(self, completed: shapes.Complete, taken_over: shapes.Claim) -> None:
        """What is completed is never taken over: who has a lower fence completed it later.

        Only a store that has forgotten the completion hands the event out anew, and the first
        takeover then comes after a whole lease.
        """
        if completed[6] < taken_over[7] and completed[1] > taken_over[1] - BEFORE_US:
            self.usurped += ((completed[2], *completed[4:6]),)
