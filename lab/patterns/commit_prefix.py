"""A later record was committed, the process dies, and the earlier one that still ran is lost.

Sixteen workers finish out of order, and no member reads again below the group's position.

So that position is the contiguous settled prefix: after a crash the first record that was not
settled comes again, and everything behind it.

The weak part commits the highest settled offset, as a consumer does that commits after each record.
"""

from typing import Protocol


class Settled(Protocol):
    """The settled records of one partition under one epoch."""

    @property
    def contiguous(self) -> int:
        """The next offset to be read after everything below was settled."""
        ...

    @property
    def highest(self) -> int:
        """The highest settled offset, -1 if none is."""
        ...


def commit_prefix(settled: Settled) -> int:
    """The position that may be committed: nothing below it is unsettled."""
    return settled.contiguous


def commit_highest(settled: Settled) -> int:
    """The weak part: one past the highest settled offset, whatever lies open below."""
    return max(settled.contiguous, settled.highest + 1)
