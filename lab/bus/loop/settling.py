"""The effect of a settlement on its lane, on the position and on the whole subscription.

Also of deliveries that are settled without being run: a drain drops some, and gives up others.
Not here: running a delivery (`workers.py`), the begin and end of a drain (`delivery.py`).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from lab.bus.loop.committing import PositionCommitter
from lab.bus.loop.draining import LoopDrain, Waiting, needed
from lab.bus.loop.intake import Intake
from lab.bus.loop.lanes import PARKED, Held, Lane, Lanes
from lab.history.recorder import Write
from lab.ports.bus import Ack, DeadLetter, Release, Retry, Settlement

Accepts = Callable[[int, int], bool]

CANCELLED: Final = Release("cancelled")
"""Of a delivery whose worker was cancelled; no other settlement is this object."""

UNBURIED_BACKOFF_US: Final = 1_000_000
UNBURIED_DOUBLINGS_MAX: Final = 6
RELEASED_US: Final = 100_000
"""A release without a pause, or a move that failed, waits this long: it must not spin."""


class Settling:
    """Applies settlements to the lanes of one subscription.

    Attributes:
        drain: the drain under way, or None.
        stale: settlements that came after their epoch and were dropped.
    """

    def __init__(
        self,
        *,
        lanes: Lanes,
        intake: Intake,
        committer: PositionCommitter,
        waiting: Waiting,
        accepts: Accepts,
        group: str,
        process: str,
        now: Callable[[], int],
        write: Write | None,
    ) -> None:
        self.drain: LoopDrain | None = None
        self.stale = 0
        self._lanes = lanes
        self._intake = intake
        self._committer = committer
        self._waiting = waiting
        self._accepts = accepts
        self._group = group
        self._process = process
        self._now = now
        self._write = write
        self._paused_until_us = 0
        self._pause_timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """Nothing is settled from now on; a pause comes to no end."""
        if self._pause_timer is not None:
            self._pause_timer.cancel()

    def settle(self, lane: Lane, held: Held, settlement: Settlement) -> None:
        """The head `held` of a running lane has come out of the chain."""
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
        held.has_run = False
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
        elif isinstance(settlement, Release) and after_us > 0:
            self._pause(settlement.why, after_us)
            self._lanes.give_back(lane)
        else:
            parked_us = RELEASED_US if isinstance(settlement, Release) else after_us
            self._lanes.park(lane, parked_us)
            if held.is_early:
                by_tier = isinstance(settlement, Retry) and settlement.by_tier
                self._intake.came_early(held, parked_us, by_tier=by_tier)

    def _settle_in_stop(
        self, drain: LoopDrain, lane: Lane, held: Held, settlement: Settlement, after_us: int
    ) -> None:
        if settlement is CANCELLED or drain.is_over:
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

    def begin_drain(self, drain: LoopDrain) -> None:
        """Drop deliveries that need not run. The rest starts; or waits, or at a stop is moved."""
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

    def give_up(self, drain: LoopDrain) -> None:
        """Nothing more is run: every delivery that is needed and still there is abandoned."""
        for lane in self._lanes.all():
            self._abandon(drain, lane)

    def _give_away(self, drain: LoopDrain, lane: Lane) -> None:
        """The head cannot be finished in time: move it, and go on with the next one."""
        if drain.move is None:
            self._abandon(drain, lane)
        else:
            lane.is_moving = True
            self._lanes.make_ready(lane)

    def _abandon(self, drain: LoopDrain, lane: Lane) -> None:
        """Nothing of the lane is finished: the others must not overtake its head."""
        drain.abandoned += [held.event_id for held in needed(lane.queue)]
        self._drop(lane)

    def _drop(self, lane: Lane) -> None:
        self._intake.in_flight -= len(lane.queue)
        self._lanes.remove(lane)

    # ---- pauses of the whole subscription

    def _pause(self, why: str, for_us: int) -> None:
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

    def _note_settlement(self, held: Held, name: str, settlement: Settlement) -> None:
        if self._write is None:
            return
        why, after_us = "", 0
        match settlement:
            case Ack():
                why = settlement.why
            case DeadLetter(reason=why):
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
