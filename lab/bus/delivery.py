"""The delivery loop: records of one subscription in, settlements out, positions committed.

Written once, over the port `Consumer`; every bus uses it. It keeps the order of keys, runs a fixed
pool of workers, parks retries without holding a worker, bounds what is in flight, commits what may
be committed, and drains before it lets go. Its policies come from outside: which position may be
committed (`position`), whether an old epoch counts (`accepts`), how a delivery is moved to the retry
path when the process must stop (`move`), and who buries what nobody handled (`bury`).

Deliberately not here: lanes (`lanes.py`), commits (`committing.py`), what a drain decides
(`draining.py`), retries and dead letters (links of `handle`, in `lab.patterns`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from lab.bus.committing import BACKOFF_CAP_US, BACKOFF_US, NOT_REACHED, Committer, Position
from lab.bus.draining import Drain, Waiting
from lab.bus.lanes import RUNNING, Held, Lane, Lanes
from lab.bus.offsets import OffsetTracker
from lab.domain.envelope import H_ATTEMPT, H_REDRIVES, H_SUBJECT, H_TYPE
from lab.domain.errors import Fenced
from lab.history.recorder import Write
from lab.ports.bus import (
    Ack,
    Consumer,
    DeadLetter,
    Delivery,
    Handle,
    Listener,
    Ordering,
    Record,
    Release,
    Retry,
    Settlement,
    StopReport,
    TopicPartition,
)

Accepts = Callable[[int, int], bool]
Bury = Callable[[Delivery, DeadLetter], Awaitable[Settlement]]

BUGS_MAX: Final = 3
BUG_BACKOFF_US: Final = 1_000_000
UNBURIED_BACKOFF_US: Final = 1_000_000
UNBURIED_BACKOFF_CAP_US: Final = 60_000_000
RELEASED_US: Final = 100_000
"""A release that asks for no pause still costs this much: it must not spin."""
CANCEL_US: Final = 1_000_000
FLUSH_US: Final = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a subscription does at once.

    Attributes:
        ordering: which deliveries may run at the same time.
        workers: handlers that run at once.
        max_in_flight: records fetched and not settled.
        max_uncommitted: records of one partition from its first unsettled one on.
        commit_every: settlements after which is committed.
        commit_after_us: time after the first uncommitted settlement.
        revoke_us: how long handlers may finish before partitions are given away; below the group's
            rebalance timeout.
    """

    ordering: Ordering = Ordering.KEY
    workers: int = 16
    max_in_flight: int = 256
    max_uncommitted: int = 2_000
    commit_every: int = 200
    commit_after_us: int = 500_000
    revoke_us: int = 8_000_000


class _Phase(Enum):
    NEW = "new"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


class DeliveryLoop(Listener):
    """One member's subscription.

    Args:
        consumer: this member; the loop is its only user.
        handle: the chain around the handlers. It should return a settlement; an exception out of
            the whole chain is a bug: reported to the event loop, two more attempts, then `bury`.
        topics: what is read, retry topics included.
        group: the consumer group.
        process: name of the process life, for the history.
        limits: see `Limits`.
        position: what of a tracker may be committed (pattern `commit_prefix`).
        accepts: whether a settlement under (its epoch, present epoch) counts (pattern `fencing`).
        now: monotonic microseconds, of the loop's waits and of the history.
        write: takes the entries, or None.
        move: parks a delivery in the retry path at a stop; settles it with Ack when that is durable.
        bury: settles a delivery that nobody handled; without it, or when it fails, the delivery is
            tried again at the head of its lane for ever.

    Attributes:
        epoch: of the present assignment, 0 without one.
        in_flight: records fetched under this epoch and not settled.
        stale: settlements that came after their epoch and were dropped.
    """

    def __init__(
        self,
        *,
        consumer: Consumer,
        handle: Handle,
        topics: Sequence[str],
        group: str,
        process: str,
        limits: Limits,
        position: Position,
        accepts: Accepts,
        now: Callable[[], int],
        write: Write | None = None,
        move: Handle | None = None,
        bury: Bury | None = None,
    ) -> None:
        self.epoch = 0
        self.in_flight = 0
        self.stale = 0
        self._consumer = consumer
        self._handle = handle
        self._topics = tuple(topics)
        self._group = group
        self._process = process
        self._limits = limits
        self._accepts = accepts
        self._now = now
        self._write = write
        self._move = move
        self._bury = bury
        self._committer = Committer(
            consumer,
            position,
            every=limits.commit_every,
            after_us=limits.commit_after_us,
            now=now,
        )
        # A full batch on top of it must not pass max_uncommitted.
        self._batch = min(limits.max_in_flight, max(1, limits.max_uncommitted // 2))
        self._window_max = limits.max_uncommitted - self._batch
        self._phase = _Phase.NEW
        self._report = StopReport()
        self._forget_all()

    def _forget_all(self) -> None:
        self._lanes = Lanes(self._limits.ordering, self._now)
        self._trackers: dict[tuple[str, int], OffsetTracker] = {}
        self._ends: Mapping[TopicPartition, int] = {}
        self._drain: Drain | None = None
        self._waiting = Waiting(self._now)
        self._room: asyncio.Future[None] | None = None
        self._current: list[Held | None] = [None] * self._limits.workers
        self._tasks: list[asyncio.Task[None]] = []
        self._fetcher: asyncio.Task[None] | None = None
        self._paused_until_us = 0
        self._pause_timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()

    # ---- life

    def start(self) -> None:
        """Join the group and work until `stop`. May be called again after a stop.

        Raises:
            RuntimeError: it runs already.
        """
        if self._phase not in (_Phase.NEW, _Phase.STOPPED):
            raise RuntimeError(f"the subscription of {self._group} is {self._phase.value} already")
        self._forget_all()
        self._phase = _Phase.RUNNING
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work(n)) for n in range(self._limits.workers)]
        self._tasks.append(loop.create_task(self._committer.run()))
        self._fetcher = loop.create_task(self._fetch())
        for task in (*self._tasks, self._fetcher):
            task.add_done_callback(self._task_ended)

    async def stop(self, grace_us: int) -> StopReport:
        """Drain, commit, leave.

        Fetching ends at once. Of what was fetched, only records above everything that was started
        in their partition are dropped; the rest is run within `grace_us`, or moved to the retry
        path. Handlers that run longer are cancelled and their deliveries given back. Returns after
        at most `grace_us` plus three seconds plus what the last port calls take. Before `start` it
        does nothing; a second call waits for the first and may shorten its grace.
        """
        return await self._end(grace_us, self._move)

    async def abort(self) -> StopReport:
        """Cancel what runs, start nothing more, commit what was settled, leave. Ends a drain too."""
        return await self._end(0, None)

    async def _end(self, grace_us: int, move: Handle | None) -> StopReport:
        deadline_us = self._now() + grace_us
        if self._phase is _Phase.STOPPING:
            if self._drain is not None and deadline_us < self._drain.deadline_us:
                self._drain.deadline_us = deadline_us
                self._waiting.notify()
            await self._ended.wait()
        elif self._phase is _Phase.RUNNING:
            self._phase = _Phase.STOPPING
            self._report = StopReport(is_committed=False)
            try:
                self._report = await self._drain_and_leave(Drain(deadline_us, move, is_stop=True))
            finally:
                self._tear_down()
                self._phase = _Phase.STOPPED
                self._ended.set()
        return self._report

    async def _drain_and_leave(self, drain: Drain) -> StopReport:
        self._drain = drain
        self._consumer.wake()
        self._make_room()
        self._sort_out(drain)
        await self._waiting.until(
            lambda: not self.in_flight and not any(self._current), lambda: drain.deadline_us
        )
        await self._cancel_running(drain)
        for lane in self._lanes.all():
            self._abandon(lane, drain)
        drain.is_committed &= await self._committer.flush(self._now() + FLUSH_US)
        await self._end_fetching()
        try:
            await self._consumer.leave()
        except NOT_REACHED:
            pass  # The session's end will tell the group.
        report = drain.report()
        if self._write is not None:
            counts = (len(report.drained), len(report.cancelled), len(report.abandoned))
            self._write(("drained", self._now(), self._process, "", self._group, *counts))
        return report

    async def _cancel_running(self, drain: Drain) -> None:
        """Cancel the handlers that still run; who does not follow is left behind."""
        drain.is_over = True
        for worker, held in zip(self._tasks, self._current, strict=False):
            if held is not None:
                worker.cancel()
        end_us = self._now() + CANCEL_US
        await self._waiting.until(lambda: not any(self._current), lambda: end_us)
        for held in self._current:
            if held is not None:
                drain.cancelled.append(held.event_id)

    async def _end_fetching(self) -> None:
        """The consumer must not be left while it is still joining or polling."""
        fetcher = self._fetcher
        assert fetcher is not None
        end_us = self._now() + FLUSH_US
        if not await self._waiting.until(fetcher.done, lambda: end_us):
            fetcher.cancel()

    def _tear_down(self) -> None:
        for task in (*self._tasks, self._fetcher):
            if task is not None:
                task.cancel()
        for lane in self._lanes.all():
            self._lanes.remove(lane)
        if self._pause_timer is not None:
            self._pause_timer.cancel()
        self._committer.begin(0)
        self._trackers = {}
        self.epoch = 0
        self.in_flight = 0

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        self._waiting.notify()
        if not task.cancelled() and task.exception() is not None:
            asyncio.get_running_loop().call_exception_handler(
                {
                    "message": f"a task of the subscription of {self._group} failed",
                    "exception": task.exception(),
                    "task": task,
                }
            )
