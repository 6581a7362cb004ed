"""The workers of a subscription: they take lanes, hand deliveries to the chain, settle them.

The pool is fixed: no task per delivery, and a parked delivery holds no worker. Deliberately not
here: what comes in (`intake.py`), and how a subscription begins and ends (`delivery.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from lab.bus.loop.committing import Committer
from lab.bus.loop.draining import Drain, Waiting, needed
from lab.bus.loop.failures import report_failure
from lab.bus.loop.intake import Intake
from lab.bus.loop.lanes import PARKED, READY, RUNNING, Held, Lane, Lanes
from lab.history.pen import Pen
from lab.ports.bus import Ack, DeadLetter, Delivery, Handle, Release, Retry, Settlement

Accepts = Callable[[int, int], bool]
Bury = Callable[[Delivery, DeadLetter], Awaitable[Settlement]]

_SETTLEMENTS: Final = (Ack, Retry, Release, DeadLetter)
_CANCELLED: Final = Release("cancelled")
_LEAKED: Final = Release("cancelled")

BUGS_MAX: Final = 3
BUG_BACKOFF_US: Final = 1_000_000
UNBURIED_BACKOFF_US: Final = 1_000_000
UNBURIED_DOUBLINGS_MAX: Final = 6
RELEASED_US: Final = 100_000
"""What asks for no pause still waits this long, it must not spin: a release, a move that failed."""


class Workers:
    """A pool over the lanes of one subscription.

    Attributes:
        tasks: one per worker, once started.
        current: what each worker has in hand.
        drain: the drain under way, or None.
        stale: settlements that came after their epoch and were dropped.
    """

    def __init__(
        self,
        handle: Handle,
        *,
        count: int,
        lanes: Lanes,
        intake: Intake,
        committer: Committer,
        waiting: Waiting,
        goes_on: Callable[[], bool],
        accepts: Accepts,
        bury: Bury | None,
        group: str,
        pen: Pen,
    ) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.current: list[Held | None] = [None] * count
        self.drain: Drain | None = None
        self.stale = 0
        self._handle = handle
        self._lanes = lanes
        self._intake = intake
        self._committer = committer
        self._waiting = waiting
        self._goes_on = goes_on
        self._accepts = accepts
        self._bury = bury
        self._group = group
        self._process, self._now, self._write = pen.process, pen.now, pen.write
        self._paused_until_us = 0
        self._pause_timer: asyncio.TimerHandle | None = None
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
        if self._pause_timer is not None:
            self._pause_timer.cancel()

    def is_idle(self) -> bool:
        """No worker has anything in hand."""
        return not any(held is not None for held in self.current)

    def is_at_rest(self) -> bool:
        """Nothing of the present epoch runs or could start now; what is parked may."""
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
            self._settle(lane, held, settlement)
            if settlement is _CANCELLED:
                raise asyncio.CancelledError

    async def _hand_over(self, lane: Lane, held: Held) -> Settlement:
        """Run the chain. Whatever comes out of it, a settlement is returned."""
        handle = self._handle
        drain = self.drain
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
            return _CANCELLED if task is not None and task.cancelling() else _LEAKED

    async def _unhandled(self, held: Held, error: BaseException) -> Settlement:
        """An exception came out of the whole chain."""
        held.bugs += 1
        asyncio.get_running_loop().call_exception_handler(
            {
                "message": f"the chain of {self._group} raised on event {held.event_id!r}",
                "exception": error,
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

    # ---- settlements

    def _settle(self, lane: Lane, held: Held, settlement: Settlement) -> None:
        present = self._intake.epoch
        is_ack = type(settlement) is Ack
        if not self._accepts(held.epoch, present):
            self.stale += 1
            self._note_settlement(held, "stale", settlement)
            self._leave_behind(lane, held)
        elif is_ack:
            self._note_settlement(held, "ack", settlement)
            held.tracker.settled(held.record.offset)
            self._committer.settled(held.tracker)
            if held.epoch == present:
                self._intake.settled(held)
            if self.drain is not None:
                self.drain.drained.append(held.event_id)
            self._lanes.next(lane, held)
        elif held.epoch != present:
            self._note_settlement(held, "release", settlement)
            self._leave_behind(lane, held)
        else:
            self._settle_unfinished(lane, held, settlement)
        if self.drain is not None:
            self._waiting.notify()

    def _leave_behind(self, lane: Lane, held: Held) -> None:
        """The delivery belongs to an assignment that is gone; so does its place in the line."""
        if self.drain is not None and self.drain.is_over:
            self.drain.cancelled.append(held.event_id)
        self._lanes.next(lane, held)

    def _settle_unfinished(self, lane: Lane, held: Held, settlement: Settlement) -> None:
        """Not an ack: the delivery stays, or comes back."""
        held.starts_known = False
        match settlement:
            case Retry(after_us=after_us, counts=counts):
                self._note_settlement(held, "retry", settlement)
                held.attempt += counts
                if not lane.is_moving:
                    held.due_us = self._now() + after_us
            case DeadLetter():
                self._note_settlement(held, "dead", settlement)
                doublings = min(held.attempt - 1, UNBURIED_DOUBLINGS_MAX)
                after_us = UNBURIED_BACKOFF_US << doublings
                held.attempt += 1
            case Release(pause_us=after_us):
                self._note_settlement(held, "release", settlement)
            case _:
                raise AssertionError(settlement)
        if self.drain is not None and self.drain.is_stop:
            self._settle_in_stop(self.drain, lane, held, settlement, after_us)
        elif not isinstance(settlement, Release):
            self._lanes.park(lane, after_us)
        elif after_us > 0:
            self.pause(settlement.why, after_us)
            self._lanes.give_back(lane)
        else:
            self._lanes.park(lane, RELEASED_US)

    def _settle_in_stop(
        self, drain: Drain, lane: Lane, held: Held, settlement: Settlement, after_us: int
    ) -> None:
        if settlement is _CANCELLED or drain.is_over:
            drain.cancelled.append(held.event_id)
        if drain.is_over:
            self._intake.in_flight -= 1
            self._lanes.next(lane, held)
        elif lane.is_moving:
            self._lanes.park(lane, RELEASED_US)
        elif not isinstance(settlement, Release) and self._now() + after_us <= drain.deadline_us:
            self._lanes.park(lane, after_us)
        elif drain.move is not None:
            self._give_away(drain, lane)
        else:
            self._abandon(drain, lane)
            self._lanes.next(lane, None)

    # ---- drains

    def begin_drain(self, drain: Drain) -> None:
        """Drop what need not be done. What remains starts; or waits, or at a stop is moved."""
        self.drain = drain
        lanes = self._lanes
        for lane in lanes.all():
            self._intake.in_flight -= lanes.keep(lane, needed(lane.queue))
            is_late = lane.state is PARKED and lane.due_us > drain.deadline_us
            if drain.is_stop and is_late and lane.queue:
                self._give_away(drain, lane)
        if drain.is_stop and lanes.is_held and self._paused_until_us > drain.deadline_us:
            drain.moves_all = True
            lanes.open()

    def move_all(self, drain: Drain) -> None:
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

    def give_up(self, drain: Drain) -> None:
        """Nothing more is done: what is needed and still there is abandoned."""
        for lane in self._lanes.all():
            self._abandon(drain, lane)

    def _give_away(self, drain: Drain, lane: Lane) -> None:
        """The head cannot be finished in time: move it, and go on with what is behind it."""
        if drain.move is None:
            self._abandon(drain, lane)
        else:
            lane.is_moving = True
            self._lanes.make_ready(lane)

    def _abandon(self, drain: Drain, lane: Lane) -> None:
        """Nothing of the lane is finished: what is behind its head must not overtake it."""
        drain.abandoned += [held.event_id for held in needed(lane.queue)]
        self._drop(lane)

    def _drop(self, lane: Lane) -> None:
        self._intake.in_flight -= len(lane.queue)
        self._lanes.remove(lane)

    # ---- pauses of the whole subscription

    def pause(self, why: str, for_us: int) -> None:
        """Start nothing for `for_us`; a pause under way may get longer, never shorter."""
        until_us = self._now() + for_us
        if until_us <= self._paused_until_us:
            return
        self._paused_until_us = until_us
        if self._write is not None:
            self._write(("paused", self._now(), self._process, "", self._group, why, for_us))
        if self._pause_timer is None:
            self._lanes.hold()
            self._intake.pause()
        else:
            self._pause_timer.cancel()
        self._arm_pause(for_us)

    def _arm_pause(self, for_us: int) -> None:
        loop = asyncio.get_running_loop()
        self._pause_timer = loop.call_later(for_us / 1e6, self._pause_ended)

    def _pause_ended(self) -> None:
        left_us = self._paused_until_us - self._now()
        if left_us > 0:
            self._arm_pause(left_us)
        elif self.drain is None or not self.drain.is_over:
            self._pause_timer = None
            self._intake.resume()
            self._lanes.open()

    # ---- history

    def _note_start(self, held: Held) -> None:
        held.is_started = True
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
                )
            )

    def _note_settlement(self, held: Held, name: str, settlement: Settlement) -> None:
        if self._write is None:
            return
        why, after_us = "", 0
        match settlement:
            case Ack(why=why) | DeadLetter(reason=why):
                pass
            case Retry(after_us=after_us):
                pass
            case Release(why=why, pause_us=after_us):
                pass
        record = held.record
        self._write(
            (
                "settle",
                self._now(),
                self._process,
                held.subject,
                self._group,
                record.topic,
                record.partition,
                record.offset,
                held.epoch,
                held.event_id,
                name,
                why,
                after_us,
            )
        )
