"""Commits of the group's position: when, how far, one at a time.

A commit is due after so many settlements, or some time after the first uncommitted one; so idle
time arms no timer. Not here: which settled offset counts (`position`, the pattern
`commit_prefix`).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from lab.bus.loop.offsets import OffsetTracker
from lab.domain.errors import Down, Fenced, Indeterminate, Throttled, Transient
from lab.ports.bus import Consumer, TopicPartition

Position = Callable[[OffsetTracker], int]

NOT_REACHED: Final = (Transient, Throttled, Down, Indeterminate)
BACKOFF_US: Final = 100_000
BACKOFF_CAP_US: Final = 5_000_000


class PositionCommitter:
    """Keeps the committed offsets of one member near those that it settled.

    Attributes:
        epoch: under which is committed, 0 if nothing is assigned.
        refused: commits that came after the group had moved on.
        is_fenced: one of this epoch was refused; nothing more of it will be committed.
    """

    def __init__(
        self,
        consumer: Consumer,
        position: Position,
        *,
        every: int,
        after_us: int,
        now: Callable[[], int],
    ) -> None:
        self.epoch = 0
        self.refused = 0
        self.is_fenced = False
        self._consumer = consumer
        self._position = position
        self._every = every
        self._after_us = after_us
        self._now = now
        self._dirty: list[OffsetTracker] = []
        self._settled = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wanted: asyncio.Future[None] | None = None
        self._is_due = False
        # Two commits under way could be applied in either order, and move the group back.
        self._one_at_a_time = asyncio.Lock()

    def begin(self, epoch: int) -> None:
        """Commit under `epoch` from now on; the rest of an older one is dropped."""
        self.epoch = epoch
        self.is_fenced = False
        for tracker in self._dirty:
            tracker.is_dirty = False
        self._dirty = []
        self._settled = 0
        self._disarm()

    def settled(self, tracker: OffsetTracker) -> None:
        """A delivery of the tracker was settled."""
        if not tracker.is_dirty:
            tracker.is_dirty = True
            self._dirty.append(tracker)
        self._settled += 1
        if self._settled >= self._every:
            self._want()
        elif self._timer is None:
            self._arm(self._after_us)

    async def run(self) -> None:
        """Commit whenever it is due, until cancelled."""
        backoff_us = BACKOFF_US
        while True:
            if not self._is_due:
                self._wanted = asyncio.get_running_loop().create_future()
                await self._wanted
            self._is_due = False
            if await self._commit():
                backoff_us = BACKOFF_US
            elif self._dirty:
                self._disarm()
                self._arm(backoff_us)
                backoff_us = min(2 * backoff_us, BACKOFF_CAP_US)

    async def flush(self, deadline_us: int) -> bool:
        """Commit everything settled; repeated until `deadline_us`. False if it could not be.

        The deadline bounds the repeating; one commit takes as long as its port allows. If it could
        not be, time has passed until the deadline.
        """
        loop = asyncio.get_running_loop()
        backoff_us = BACKOFF_US
        while not await self._commit():
            left_us = deadline_us - self._now()
            if self.is_fenced or left_us <= 0:
                return False
            pause: asyncio.Future[None] = loop.create_future()
            timer = loop.call_later(min(backoff_us, left_us) / 1e6, _resolve, pause)
            try:
                await pause
            finally:
                timer.cancel()
            if self._now() >= deadline_us:
                return False
            backoff_us = min(2 * backoff_us, BACKOFF_CAP_US)
        return True

    async def flush_last(self, once_us: int, deadline_us: Callable[[], int]) -> bool:
        """Like `flush`, for a member that leaves: nobody else can commit its settlements.

        An attempt takes `once_us` and is repeated until the deadline, which may be moved.
        """
        while not await self.flush(self._now() + once_us):
            if self.is_fenced or self._now() >= deadline_us():
                return False
        return True

    async def _commit(self) -> bool:
        """Commit once. True if all that was settled under this epoch is committed."""
        async with self._one_at_a_time:
            taken, offsets = self._take()
            if not offsets or self.is_fenced:
                return not self.is_fenced
            epoch = self.epoch
            try:
                await self._consumer.commit(offsets, epoch)
            except Fenced:
                self.refused += 1
                if epoch == self.epoch:
                    self.is_fenced = True
                return False
            except NOT_REACHED:
                self._mark_again(taken, epoch)
                return False
            for tracker in taken:
                tracker.committed = max(tracker.committed, offsets.get(tracker.partition, -1))
            return True

    def _take(self) -> tuple[list[OffsetTracker], dict[TopicPartition, int]]:
        self._disarm()
        self._settled = 0
        taken, self._dirty = self._dirty, []
        offsets = {}
        for tracker in taken:
            tracker.is_dirty = False
            position = self._position(tracker)
            if position > tracker.committed:
                offsets[tracker.partition] = position
        return taken, offsets

    def _mark_again(self, taken: list[OffsetTracker], epoch: int) -> None:
        if epoch == self.epoch:
            for tracker in taken:
                if not tracker.is_dirty:
                    tracker.is_dirty = True
                    self._dirty.append(tracker)

    def _arm(self, after_us: int) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(after_us / 1e6, self._want)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _want(self) -> None:
        self._is_due = True
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
