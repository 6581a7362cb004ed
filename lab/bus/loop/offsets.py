"""The settled deliveries of one partition under one epoch, and their contiguous prefix.

Not here: the commits (`committing.py`, and the pattern `commit_prefix`, which chooses between
`contiguous` and `highest`).
"""

from collections import deque

from lab.ports.bus import TopicPartition


class OffsetTracker:
    """Counts deliveries and settlements of each offset. Every call is O(1), amortised.

    An offset may be delivered more than once; it is settled when all its deliveries are. Offsets
    that a log skips (compaction, transaction markers) leave no gap.

    Attributes:
        partition: the partition.
        contiguous: the next offset to be read after everything below was settled; -1 before the
            first delivery.
        highest: the highest settled offset; -1 if none is.
        started: the highest offset that was handed to a handler; -1 if none was. Kept by the lanes.
        committed: the position that was committed last, -1 if none was. Kept by the committer.
        is_dirty: it waits for a commit. Kept by the committer.
        is_paused: fetching stopped because the window is full. Kept by the delivery loop.
    """

    __slots__ = (
        "_delivered",
        "_open",
        "_order",
        "committed",
        "contiguous",
        "highest",
        "is_dirty",
        "is_paused",
        "partition",
        "started",
    )

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.contiguous = -1
        self.highest = -1
        self.started = -1
        self.committed = -1
        self.is_dirty = False
        self.is_paused = False
        self._delivered = -1
        self._open: dict[int, int] = {}
        self._order: deque[int] = deque()

    def delivered(self, offset: int) -> bool:
        """One delivery of `offset` is in hand; whether it is the first one under this epoch."""
        if offset > self._delivered:
            if self._delivered < 0:
                self.contiguous = offset
            self._delivered = offset
            self._order.append(offset)
            self._open[offset] = 1
            return True
        # Below the prefix already: it is counted, but cannot move the position back.
        self._open[offset] = self._open.get(offset, 0) + 1
        return False

    def settled(self, offset: int) -> None:
        """One delivery of `offset` is settled.

        Raises:
            KeyError: none is in hand; settling twice is a mistake of the caller.
        """
        open_ = self._open
        left = open_[offset] - 1
        if left:
            open_[offset] = left
            return
        del open_[offset]
        self.highest = max(self.highest, offset)
        order = self._order
        while order and order[0] not in open_:
            self.contiguous = order.popleft() + 1

    @property
    def window(self) -> int:
        """Records delivered and not below the contiguous prefix, settled or not."""
        return len(self._order)
