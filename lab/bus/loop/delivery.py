"""The delivery loop: records of one subscription in, settlements out, positions committed.

Written once, over the port `Consumer`; every bus uses it. It keeps the order of keys, runs a fixed
pool of workers, parks retries without holding one, bounds the records in flight, commits the
positions that may be committed, and drains before it lets go. Its policies come from outside: which
position may be committed (`position`), whether an old epoch counts (`accepts`), how a delivery is
moved to the retry path when the process must stop (`move`), and the burial of an
unhandled one (`bury`).

Here: how a subscription begins, follows the group, and ends. Its parts: `intake.py` (fetching and
bounds), `lanes.py` (the order of keys), `workers.py` (running), `settling.py`, `committing.py`,
`offsets.py`, `draining.py`. Not here: retries and dead letters; they are links of `handle`, in
`lab.patterns`.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from math import inf
from typing import Final

from lab.bus.loop.committing import NOT_REACHED, Position, PositionCommitter
from lab.bus.loop.draining import LoopDrain, Waiting
from lab.bus.loop.intake import Intake
from lab.bus.loop.lanes import Lanes
from lab.bus.loop.settling import Accepts, Settling
from lab.bus.loop.workers import Bury, Workers, report_failure
from lab.history.pen import Pen
from lab.ports.bus import (
    Consumer,
    Handle,
    Listener,
    Ordering,
    Record,
    StopReport,
    TopicPartition,
)
from lab.ports.usable import Usable

FLUSH_US: Final = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a subscription takes on at once, how soon it commits, how long it lets go.

    Without bounds a slow handler fills memory, and a member that will not let go is thrown out of
    its group.

    Attributes:
        ordering: which deliveries may not run at the same time.
        workers: handlers that run at once; never more than max_in_flight.
        max_in_flight: records fetched and not settled, but for those that came from a retry topic
            before their time, or behind such a one.
        max_uncommitted: records of one partition from its first unsettled one on.
        commit_every: settlements after which is committed.
        commit_after_us: time from the first uncommitted settlement to its commit.
        revoke_us: how long running handlers may finish before partitions are given away; must lie
            below the group's rebalance timeout.
        rest_us: how long a stop may take beyond its grace: a quarter to move, a quarter to cancel,
            the rest to commit.
    """

    ordering: Ordering = Ordering.KEY
    workers: int = 16
    max_in_flight: int = 256
    max_uncommitted: int = 2_000
    commit_every: int = 200
    commit_after_us: int = 500_000
    revoke_us: int = 8_000_000
    rest_us: int = 4_000_000


class _Phase(Enum):
    NEW = "new"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


class DeliveryLoop(Listener, Usable):
    """One member's subscription.

    Args:
        consumer: this member; the loop is its only user.
        skips: whether the group does not read a record; such a one is settled as it comes in, and
            never gets as far as a lane.
        handle: the chain around the handlers. It should return a settlement; an exception out of
            the whole chain is a bug: it is reported to the event loop's exception handler, tried
            twice more, then handed to `bury`.
        topics: those that are read, retry topics included.
        group: the consumer group.
        limits: see `Limits`.
        position: the part of a tracker that may be committed (pattern `commit_prefix`).
        accepts: whether a settlement of (its epoch, the present epoch) counts (pattern `fencing`).
        pen: for the history; its clock, which is monotonic, is also that of all waits.
        move: parks a delivery in the retry path at a stop; settles with Ack once that is durable.
        bury: settles a delivery that nobody handled. Without it, and for a DeadLetter that comes
            out of the chain, the delivery is tried again at the head of its lane for ever, backing
            off.
    """

    def __init__(
        self,
        *,
        consumer: Consumer,
        handle: Handle,
        skips: Callable[[Record], bool] = lambda _: False,
        topics: Sequence[str],
        group: str,
        limits: Limits,
        position: Position,
        accepts: Accepts,
        pen: Pen,
        move: Handle | None = None,
        bury: Bury | None = None,
    ) -> None:
        self._consumer = consumer
        self._handle = handle
        self._skips = skips
        self._topics = tuple(topics)
        self._group = group
        self._limits = limits
        self._position = position
        self._accepts = accepts
        self._pen = pen
        self._process, self._now, self._write = pen.process, pen.now, pen.write
        self._move = move
        self._bury = bury
        self._phase = _Phase.NEW
        self._report = StopReport()
        self._tasks: list[asyncio.Task[None]] = []
        self._make_parts()

    def _make_parts(self) -> None:
        limits = self._limits
        self._ended = asyncio.Event()
        # When the partitions are gone, if a rebalance takes them now.
        self._revoked_us: float = inf
        self._waiting = Waiting(self._now)
        self._lanes = Lanes(limits.ordering, self._now)
        self._committer = PositionCommitter(
            self._consumer,
            self._position,
            every=limits.commit_every,
            after_us=limits.commit_after_us,
            now=self._now,
        )
        self._intake = Intake(
            self._consumer,
            self._lanes,
            self._committer,
            skips=self._skips,
            max_in_flight=limits.max_in_flight,
            max_uncommitted=limits.max_uncommitted,
            group=self._group,
            process=self._process,
            now=self._now,
            write=self._write,
        )
        self._settling = Settling(
            lanes=self._lanes,
            intake=self._intake,
            committer=self._committer,
            waiting=self._waiting,
            accepts=self._accepts,
            group=self._group,
            process=self._process,
            now=self._now,
            write=self._write,
        )
        self._workers = Workers(
            self._handle,
            count=min(limits.workers, limits.max_in_flight),
            lanes=self._lanes,
            settling=self._settling,
            waiting=self._waiting,
            goes_on=self._goes_on,
            bury=self._bury,
            group=self._group,
            pen=self._pen,
        )

    # ---- its state

    @property
    def epoch(self) -> int:
        """Of the present assignment, 0 without one."""
        return self._intake.epoch

    @property
    def owned(self) -> Sequence[TopicPartition]:
        """The partitions of the present assignment."""
        return self._intake.owned()

    @property
    def in_flight(self) -> int:
        """Records fetched under this epoch and not settled."""
        return self._intake.in_flight

    @property
    def uncommitted_max(self) -> int:
        """The widest window of a partition: records from its first unsettled one on."""
        return max((tracker.window for tracker in self._intake.trackers.values()), default=0)

    @property
    def stale(self) -> int:
        """Settlements and commits that came after their epoch and were dropped."""
        return self._settling.stale + self._committer.refused

    @property
    def heads(self) -> Mapping[TopicPartition, int]:
        """Offset of the first unsettled record of each partition that has one in hand."""
        trackers = self._intake.trackers.values()
        return {each.partition: each.contiguous for each in trackers if each.window}

    @property
    def is_paused(self) -> bool:
        """Whether the whole subscription starts nothing for now."""
        return self._lanes.is_held

    def why_not(self) -> str:
        return "" if self.epoch else f"it is no member of the group {self._group} now"

    # ---- life

    def start(self) -> None:
        """Join the group and work until `stop`. May be called again after a stop.

        Raises:
            RuntimeError: it runs already.
        """
        if self._phase not in (_Phase.NEW, _Phase.STOPPED):
            raise RuntimeError(f"the subscription of {self._group} is {self._phase.value} already")
        self._make_parts()
        self._phase = _Phase.RUNNING
        loop = asyncio.get_running_loop()
        self._workers.start()
        self._fetcher = loop.create_task(self._intake.run(self._topics, self))
        self._tasks = [loop.create_task(self._committer.run()), self._fetcher]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    async def stop(self, grace_us: int) -> StopReport:
        """Drain, commit, leave.

        Fetching ends at once. Of the records in hand, only those above everything that was started
        in their partition are dropped; the rest is run within `grace_us`, or moved to the retry
        path. Handlers that run longer are cancelled, and their deliveries moved too, or given back
        if nothing can be moved. It takes at most `grace_us`, `rest_us` of the limits, and the time
        of the last calls of the consumer. Before `start` it does nothing; a second call waits for
        the first, and may shorten its grace.
        """
        return await self._end(grace_us, self._move)

    async def abort(self) -> StopReport:
        """Cancel all that runs, start nothing more, commit, leave; ends a drain."""
        return await self._end(0, None)

    async def _end(self, grace_us: int, move: Handle | None) -> StopReport:
        deadline_us = self._now() + grace_us
        if self._phase is _Phase.STOPPING:
            drain = self._settling.drain
            if drain is not None:
                drain.deadline_us = min(drain.deadline_us, deadline_us)
                drain.move = move and drain.move
                self._waiting.notify()
            await self._ended.wait()
        elif self._phase is _Phase.RUNNING:
            self._phase = _Phase.STOPPING
            self._report = StopReport(is_committed=False)
            drain = LoopDrain(deadline_us, move, is_stop=True)
            self._be_done_before_revoked(drain)
            try:
                self._report = await self._drain_and_leave(drain)
            finally:
                self._tear_down()
        return self._report

    def _be_done_before_revoked(self, drain: LoopDrain) -> None:
        """Nothing can be moved any more once the partitions are gone."""
        by_us = self._revoked_us - self._limits.rest_us // 4
        if by_us < drain.deadline_us:
            drain.deadline_us = int(by_us)
            self._waiting.notify()

    async def _drain_and_leave(self, drain: LoopDrain) -> StopReport:
        workers = self._workers
        waiting = self._waiting
        self._intake.finish()
        self._settling.begin_drain(drain)
        if not await waiting.until(self._is_drained, lambda: drain.deadline_us) and drain.move:
            workers.move_all(drain)
            moved_us = self._now() + self._limits.rest_us // 4
            await waiting.until(self._is_drained, lambda: moved_us if drain.move else 0)
        await self._cancel_running(drain)
        self._settling.give_up(drain)
        # A rebalance that is under way has nothing to wait for any more either.
        waiting.notify()
        once_us = self._limits.rest_us // 2
        is_committed = await self._committer.flush_last(once_us, lambda: drain.deadline_us)
        drain.is_committed = drain.is_committed and is_committed
        # The consumer must not be left while a call of it is still joining.
        end_us = self._now() + FLUSH_US
        await waiting.until(self._fetcher.done, lambda: end_us)
        with suppress(*NOT_REACHED):  # Then the end of the session will tell the group.
            await self._consumer.leave()
        report = drain.report()
        if self._write is not None:
            counts = (len(report.drained), len(report.cancelled), len(report.abandoned))
            self._write(("drained", self._now(), self._process, "", self._group, *counts))
        return report

    async def _cancel_running(self, drain: LoopDrain) -> None:
        """Start nothing more, cancel the handlers that still run."""
        workers = self._workers
        drain.is_over = True
        self._lanes.hold()
        for task, held in zip(workers.tasks, workers.current, strict=True):
            if held is not None:
                task.cancel()
        end_us = self._now() + self._limits.rest_us // 4
        await self._waiting.until(workers.is_idle, lambda: end_us)

    def _tear_down(self) -> None:
        self._workers.end()
        self._settling.end()
        for task in self._tasks:
            task.cancel()
        self._committer.begin(0)
        self._intake.begin(0, {})
        self._phase = _Phase.STOPPED
        self._ended.set()

    def _is_drained(self) -> bool:
        return not self._intake.in_flight and self._workers.is_idle()

    def _goes_on(self) -> bool:
        """Whether a cancelled worker is replaced: not if the whole event loop is being ended."""
        drain = self._settling.drain
        return not self._fetcher.cancelling() and not (drain is not None and drain.is_over)

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        self._waiting.notify()
        report_failure(task, self._group)

    # ---- the group's assignments

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:  # noqa: ARG002 - the port's shape; all of them go
        """Drain, then commit, then fence. Under the eager protocol everything goes."""
        intake = self._intake
        settling = self._settling
        deadline_us = self._now() + self._limits.revoke_us
        intake.is_closed = True
        self._revoked_us = deadline_us
        if settling.drain is None:
            settling.begin_drain(LoopDrain(deadline_us, None, is_stop=False))
        else:
            self._be_done_before_revoked(settling.drain)
        await self._waiting.until(self._has_given_up, lambda: deadline_us)
        drain = settling.drain
        is_stop = drain is not None and drain.is_stop
        flush_us = self._limits.rest_us // 2 if is_stop else FLUSH_US
        is_committed = await self._committer.flush(self._now() + flush_us)
        self._fence()
        self._revoked_us = inf
        drain = settling.drain
        if drain is not None and drain.is_stop:
            drain.is_committed = drain.is_committed and is_committed
        else:
            settling.drain = None

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        """Begin anew with the next epoch."""
        if self._phase is not _Phase.RUNNING:
            return
        if self._intake.epoch:
            self._fence()
        self._committer.begin(epoch)
        self._intake.begin(epoch, ends)
        self._note("owned", epoch, ends)

    def on_lost(self, partition: TopicPartition, start: int, end: int) -> None:
        """Say so: nothing can be done about it here."""
        if self._write is not None:
            self._write(
                ("lost", self._now(), self._process, "", self._group, *partition, start, end)
            )

    def _has_given_up(self) -> bool:
        """Nothing is left to wait for. A stop, which may come meanwhile, waits for parked ones."""
        drain = self._settling.drain
        if drain is not None and drain.is_stop:
            return not self._intake.in_flight
        return self._workers.is_at_rest()

    def _fence(self) -> None:
        """From here on nothing of the present epoch is settled or committed."""
        intake = self._intake
        if not intake.epoch:
            return
        self._note("revoked", intake.epoch, intake.owned())
        drain = self._settling.drain
        if drain is not None and drain.is_stop:
            self._settling.give_up(drain)
        for lane in self._lanes.all():
            self._lanes.remove(lane)
        self._committer.begin(0)
        intake.begin(0, {})
        intake.is_closed = True
        self._waiting.notify()

    def _note(self, kind: str, epoch: int, partitions: Iterable[TopicPartition]) -> None:
        if self._write is not None:
            names = _places(tuple(partitions))
            self._write((kind, self._now(), self._process, "", self._group, epoch, names))


@lru_cache(maxsize=64)
def _places(partitions: tuple[TopicPartition, ...]) -> tuple[str, ...]:
    """Their names in a history. A member is given the same ones in every run."""
    return tuple(f"{topic}/{partition}" for topic, partition in partitions)
