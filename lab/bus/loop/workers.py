"""The workers of a subscription: they take lanes and hand deliveries to the chain.

The pool is fixed: no task per delivery, and a parked delivery holds no worker. Not here:
fetching (`intake.py`), the effect of a settlement (`settling.py`), and the begin and end of a
subscription (`delivery.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from lab.bus.facts import record_digest
from lab.bus.loop.draining import LoopDrain, Waiting
from lab.bus.loop.lanes import PARKED, READY, RUNNING, Held, Lane, Lanes
from lab.bus.loop.settling import CANCELLED, Settling
from lab.history.pen import Pen
from lab.ports.bus import Ack, DeadLetter, Delivery, Handle, Release, Retry, Settlement

Bury = Callable[[Delivery, DeadLetter], Awaitable[Settlement]]

_SETTLEMENTS: Final = (Ack, Retry, Release, DeadLetter)
_LEAKED: Final = Release("cancelled")

BUGS_MAX: Final = 3
BUG_BACKOFF_US: Final = 1_000_000

SUBSCRIPTION: Final = "subscription"
"""Names the group in a report to the exception handler: nothing is consumed from then on."""

CHAIN: Final = "chain"
"""Names the group in a report about one delivery, which is tried again."""

SUBJECT: Final = "subject"
"""Names the order in a report."""


class Workers:
    """A pool over the lanes of one subscription.

    Attributes:
        tasks: one per worker, once started.
        current: the delivery that each worker has in hand.
    """

    def __init__(
        self,
        handle: Handle,
        *,
        count: int,
        lanes: Lanes,
        settling: Settling,
        waiting: Waiting,
        goes_on: Callable[[], bool],
        bury: Bury | None,
        group: str,
        pen: Pen,
    ) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.current: list[Held | None] = [None] * count
        self._handle = handle
        self._lanes = lanes
        self._settling = settling
        self._waiting = waiting
        self._goes_on = goes_on
        self._bury = bury
        self._group = group
        self._process, self._now, self._write = pen.process, pen.now, pen.write
        self._is_ended = False

    # ---- the pool

    def start(self) -> None:
        """Start the workers on the running loop."""
        self.tasks = [self._hire(slot) for slot in range(len(self.current))]

    def end(self) -> None:
        """Cancel the workers and everything parked."""
        self._is_ended = True
        for task in self.tasks:
            task.cancel()
        for lane in self._lanes.all():
            self._lanes.remove(lane)

    def is_idle(self) -> bool:
        """No worker has anything in hand."""
        return not any(held is not None for held in self.current)

    def is_at_rest(self) -> bool:
        """Nothing of the present epoch runs or could start now; a parked lane may later."""
        states = (RUNNING,) if self._lanes.is_held else (RUNNING, READY)
        return not any(lane.queue and lane.state in states for lane in self._lanes.all())

    def _hire(self, slot: int) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(self._work(slot))
        task.add_done_callback(partial(self._ended, slot))
        return task

    def _ended(self, slot: int, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            report_failure(task, self._group)
        elif not self._is_ended and self._goes_on():
            # Somebody cancelled this one: the pool must not shrink.
            self.tasks[slot] = self._hire(slot)

    async def _work(self, slot: int) -> None:
        lanes = self._lanes
        current = self.current
        settle = self._settling.settle
        while not self._is_ended:
            lane = lanes.take()
            if lane is None:
                lane = await lanes.wait()
                if lanes.is_held:
                    lanes.give_back(lane)
                    self._waiting.notify()
                    continue
            if not lane.queue:
                lanes.next(lane, None)  # Emptied between its hand-over and this step.
                continue
            current[slot] = held = lane.queue[0]
            settlement = await self._hand_over(lane, held)
            current[slot] = None
            settle(lane, held, settlement)
            if settlement is CANCELLED:
                raise asyncio.CancelledError

    async def _hand_over(self, lane: Lane, held: Held) -> Settlement:
        """Run the chain. A settlement is returned, also if an exception comes out of it."""
        handle = self._handle
        drain = self._settling.drain
        if drain is not None and (lane.is_moving or drain.moves_all):
            if drain.move is None:
                return Release("stopping")
            handle = drain.move
            lane.is_moving = True
            held.wait_us = max(held.due_us - self._now(), 0)
        else:
            self._note_start(held)
        try:
            try:
                settlement = await handle(held)
                if type(settlement) in _SETTLEMENTS:
                    return settlement
                raise TypeError(f"the chain of {self._group} settled with {settlement!r}")
            except (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001 - a bug of the chain must not end the loop
                return await self._unhandled(held, error)
        except asyncio.CancelledError:
            # The delivery is given back, then the worker ends; unless nobody cancelled the worker,
            # and it is the handler that leaks a cancellation of something else.
            task = asyncio.current_task()
            return CANCELLED if task is not None and task.cancelling() else _LEAKED

    async def _unhandled(self, held: Held, error: BaseException) -> Settlement:
        """An exception came out of the whole chain."""
        held.bugs += 1
        asyncio.get_running_loop().call_exception_handler(
            {
                "message": f"the chain of {self._group} raised on event {held.event_id!r}",
                "exception": error,
                CHAIN: self._group,
                SUBJECT: held.subject,
            }
        )
        if held.bugs < BUGS_MAX:
            return Retry(BUG_BACKOFF_US * held.bugs)
        dead = DeadLetter("exhausted", type(error).__name__, str(error))
        if self._bury is None:
            return dead
        try:
            return await self._bury(held, dead)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - it is tried again, as if nobody could bury
            return dead

    def move_all(self, drain: LoopDrain) -> None:
        """The time is up: cancel the handlers that run; move theirs and all that is behind them."""
        drain.moves_all = True
        lanes = self._lanes.all()
        moving = [lane.queue[0] for lane in lanes if lane.is_moving and lane.queue]
        for task, held in zip(self.tasks, self.current, strict=True):
            if held is not None and not any(held is each for each in moving):
                task.cancel()
        for lane in lanes:
            if lane.state is PARKED and lane.queue:
                self._lanes.make_ready(lane)
        self._lanes.open()

    def _note_start(self, held: Held) -> None:
        record = held.record
        tracker = held.tracker
        tracker.started = max(tracker.started, record.offset)
        if self._write is not None:
            self._write(
                (
                    "deliver",
                    self._now(),
                    self._process,
                    held.subject,
                    self._group,
                    record.topic,
                    record.partition,
                    record.offset,
                    held.epoch,
                    held.event_id,
                    held.event_type,
                    held.attempt,
                    record_digest(record),
                )
            )


def report_failure(task: "asyncio.Task[None]", group: str) -> None:
    """Tell the event loop's exception handler if a task of a subscription failed: it is a bug."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        asyncio.get_running_loop().call_exception_handler(
            {
                "message": f"a task of the subscription of {group} failed",
                "exception": error,
                "task": task,
                SUBSCRIPTION: group,
            }
        )
