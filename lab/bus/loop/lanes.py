"""Lanes: deliveries that must not run at the same time wait in line, all others pass.

A lane holds the deliveries of one key (or one partition, or a single one) in the order in which
they came. It is ready, running, parked until an instant, or gone. Not here: the workers
(`workers.py`), and the meaning of a settlement (`settling.py`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final

from lab.bus.loop.offsets import OffsetTracker
from lab.ports.bus import Delivery, Ordering


class Held(Delivery, kw_only=True, gc=False):
    """A delivery in the hands of the loop.

    Attributes:
        tracker: counts it; of the epoch under which it was fetched.
        due_us: its next attempt may not start before.
        bugs: exceptions that came out of the whole chain.
        is_early: see `Lanes.early`.
    """

    tracker: OffsetTracker
    due_us: int = 0
    bugs: int = 0
    is_early: bool = False


class LaneState(IntEnum):
    """The state of a lane with deliveries."""

    READY = 0
    RUNNING = 1
    PARKED = 2


READY: Final = LaneState.READY
RUNNING: Final = LaneState.RUNNING
PARKED: Final = LaneState.PARKED


class Lane:
    """A line of deliveries; the first one is running, parked, or the next to start.

    Attributes:
        due_us: when a parked lane goes on.
        is_moving: its head is to be moved to the retry path instead of being handled.
    """

    __slots__ = ("due_us", "is_moving", "key", "queue", "state", "timer")

    def __init__(self, key: object, first: Held) -> None:
        self.key = key
        self.queue: deque[Held] = deque((first,))
        self.state = READY
        self.due_us = 0
        self.is_moving = False
        self.timer: asyncio.TimerHandle | None = None


class Lanes:
    """All lanes of a subscription, and the workers that wait for one.

    Attributes:
        is_held: nothing is handed out until `open`.
        early: deliveries that came from a retry topic before their time, or behind such a one, and
            are not settled. They wait so long that no others must wait for their places.
    """

    def __init__(self, ordering: Ordering, now: Callable[[], int]) -> None:
        self.is_held = False
        self.early = 0
        self._ordering = ordering
        self._now = now
        self._lanes: dict[object, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._idle: list[asyncio.Future[Lane]] = []
        self._singles = 0

    def all(self) -> Sequence[Lane]:
        """The lanes that hold something or are running, oldest first."""
        return list(self._lanes.values())

    def add(self, held: Held) -> None:
        """Put a delivery at the end of its lane."""
        if self._ordering is Ordering.KEY:
            key: object = held.record.key
        elif self._ordering is Ordering.PARTITION:
            key = (held.record.topic, held.record.partition)
        else:
            self._singles = key = self._singles + 1
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = lane = Lane(key, held)
            self.make_ready(lane)
        else:
            lane.queue.append(held)
            if lane.state is PARKED and lane.queue[0].is_early:
                self._came_early(held)

    def take(self) -> Lane | None:
        """The next ready lane, running from now on; None if there is none."""
        if self._ready and not self.is_held:
            lane = self._ready.popleft()
            lane.state = RUNNING
            return lane
        return None

    async def wait(self) -> Lane:
        """The next ready lane; waits for one. To be asked only after `take` found none."""
        future: asyncio.Future[Lane] = asyncio.get_running_loop().create_future()
        self._idle.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future in self._idle:
                self._idle.remove(future)
            elif not future.cancelled():
                self.give_back(future.result())
            raise

    def give_back(self, lane: Lane) -> None:
        """A lane that was taken is not run after all; it keeps its turn."""
        if not self._hand_over(lane):
            lane.state = READY
            self._ready.appendleft(lane)

    def make_ready(self, lane: Lane) -> None:
        """Let the head of the lane start as soon as a worker is free."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        if not self._hand_over(lane):
            lane.state = READY
            self._ready.append(lane)

    def next(self, lane: Lane, held: Held | None) -> None:
        """A running lane is done with its head `held`: go on with the next one.

        The line may have been cleared, and filled again, while it ran.
        """
        queue = lane.queue
        if queue and queue[0] is held:
            queue.popleft()
        lane.is_moving = False
        if queue:
            self.make_ready(lane)
        else:
            del self._lanes[lane.key]

    def park(self, lane: Lane, after_us: int) -> None:
        """The head of a running lane is to start again after `after_us`, not earlier."""
        lane.state = PARKED
        lane.due_us = self._now() + after_us
        self._arm(lane, after_us)
        if lane.queue and "." in lane.queue[0].record.topic:
            for held in lane.queue:
                self._came_early(held)

    def keep(self, lane: Lane, kept: Sequence[Held]) -> int:
        """Keep only `kept` in a lane; returns how many were dropped."""
        before = len(lane.queue)
        lane.queue = deque(kept)
        if not kept and lane.state is not RUNNING:
            self.remove(lane)
        return before - len(kept)

    def remove(self, lane: Lane) -> None:
        """Empty a lane. One that is running is gone only when its worker calls `next`."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        lane.queue.clear()
        if lane.state is READY and lane in self._ready:
            self._ready.remove(lane)
        if lane.state is not RUNNING:
            del self._lanes[lane.key]

    def hold(self) -> None:
        """Hand out nothing."""
        self.is_held = True

    def open(self) -> None:
        """Hand out again."""
        self.is_held = False
        while self._ready and self._hand_over(self._ready[0]):
            self._ready.popleft()

    def _hand_over(self, lane: Lane) -> bool:
        """Give the lane to a worker that waits; False if none does, or nothing may start."""
        idle = self._idle
        while idle and not self.is_held:
            future = idle.pop()
            if not future.done():  # Else its worker was cancelled in this very instant.
                lane.state = RUNNING
                future.set_result(lane)
                return True
        return False

    def _came_early(self, held: Held) -> None:
        if not held.is_early:
            held.is_early = True
            self.early += 1

    def _arm(self, lane: Lane, after_us: int) -> None:
        loop = asyncio.get_running_loop()
        lane.timer = loop.call_later(after_us / 1e6, self._due, lane)

    def _due(self, lane: Lane) -> None:
        left_us = lane.due_us - self._now()
        if left_us > 0:  # A real loop's timer may fire a little early; a retry never does.
            self._arm(lane, left_us)
        else:
            lane.timer = None
            self.make_ready(lane)
