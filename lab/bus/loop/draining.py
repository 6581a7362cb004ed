"""A drain: the work that is left to a subscription that gives up its partitions, or stops.

No gap may be left: everything that was started, and everything below it in its partition, is run to
its end or moved to the retry path; only the rest above may be dropped. Not here: the fate of each
delivery (`settling.py`) and the sequence of a stop (`delivery.py`).
"""

import asyncio
from collections.abc import Callable, Sequence

from lab.bus.loop.lanes import Held
from lab.ports.bus import Handle, StopReport


class LoopDrain:
    """The drain under way, and the fate of its deliveries.

    Attributes:
        deadline_us: on the loop's clock.
        move: moves a delivery to the retry path, or None.
        is_stop: the member leaves; else only its assignment ends.
        moves_all: nothing may be handled any more, everything is to be moved.
        is_over: the deadline has passed; every handler that still ran was cancelled.
    """

    def __init__(self, deadline_us: int, move: Handle | None, *, is_stop: bool) -> None:
        self.deadline_us = deadline_us
        self.move = move
        self.is_stop = is_stop
        self.moves_all = False
        self.is_over = False
        self.drained: list[str] = []
        self.cancelled: list[str] = []
        self.abandoned: list[str] = []
        self.is_committed = True

    def report(self) -> StopReport:
        """The fate of every delivery."""
        return StopReport(
            drained=tuple(self.drained),
            cancelled=tuple(self.cancelled),
            abandoned=tuple(self.abandoned),
            is_committed=self.is_committed,
        )


def needed(queue: Sequence[Held]) -> list[Held]:
    """The deliveries of a lane that may not be dropped: started, or below one that was started."""
    return [held for held in queue if held.record.offset <= held.tracker.started]


class Waiting:
    """Waits of a stop or a rebalance for something that a settlement or a task's end brings."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._waiters: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        """Something changed: let the waits look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, is_done: Callable[[], bool], deadline_us: Callable[[], int]) -> bool:
        """Wait until `is_done`, at most until the deadline, which may be moved; whether it is."""
        loop = asyncio.get_running_loop()
        while not is_done():
            left_us = deadline_us() - self._now()
            if left_us <= 0:
                return False
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.append(waiter)
            timer = loop.call_later(left_us / 1e6, self.notify)
            try:
                await waiter
            finally:
                timer.cancel()
        return True
