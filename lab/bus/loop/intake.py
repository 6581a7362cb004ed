"""The intake: records are fetched, turned into deliveries, bounded, counted until settled.

Not here: running them (`workers.py`).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lab.bus.loop.committing import BACKOFF_CAP_US, BACKOFF_US, NOT_REACHED, PositionCommitter
from lab.bus.loop.lanes import Held, Lanes
from lab.bus.loop.offsets import OffsetTracker
from lab.domain.content_mode import CONTENT_TYPE, as_readable, is_structured
from lab.domain.envelope import (
    H_ATTEMPT,
    H_ID,
    H_REDRIVES,
    H_SUBJECT,
    H_TYPE,
    PLAIN,
    by_name,
    header,
    text_header,
    usable_id,
)
from lab.domain.errors import Fenced
from lab.history.recorder import Write
from lab.ports.bus import Consumer, Listener, Record, TopicPartition

_FETCH_AGAIN: Final = (*NOT_REACHED, Fenced)


class Intake:
    """The fetched and unsettled deliveries of the present assignment.

    Attributes:
        epoch: of the present assignment, 0 without one.
        in_flight: deliveries of this epoch that are neither settled nor dropped. Those that
            came before their time (`Lanes.early`) are counted, and take no place: `max_uncommitted`
            of a partition is their bound, and beyond `max_in_flight` of them no more are fetched
            from the partition of one whose tier has not run out, until it has.
        trackers: by partition, of those that a record came from.
        is_closed: records that still come are dropped: the assignment is being given up.

    Args:
        skips: see `DeliveryLoop`.
    """

    def __init__(
        self,
        consumer: Consumer,
        lanes: Lanes,
        committer: PositionCommitter,
        *,
        skips: Callable[[Record], bool],
        max_in_flight: int,
        max_uncommitted: int,
        group: str,
        process: str,
        now: Callable[[], int],
        write: Write | None,
    ) -> None:
        self.epoch = 0
        self.in_flight = 0
        self.trackers: dict[tuple[str, int], OffsetTracker] = {}
        self.is_closed = False
        self._consumer = consumer
        self._lanes = lanes
        self._committer = committer
        self._skips = skips
        self._group = group
        self._process = process
        self._now = now
        self._write = write
        self._most = 0
        self._ends: Mapping[TopicPartition, int] = {}
        self._in_flight_max = max_in_flight
        # A whole batch on top of it must not pass max_uncommitted.
        self._batch = min(max_in_flight, max(1, max_uncommitted // 2))
        self._window_max = max_uncommitted - self._batch
        # Not one free place: a full intake would fetch records one by one.
        self._enough_room = max_in_flight - max(1, max_in_flight // 16)
        self._is_paused = False
        self._is_finished = False
        # Of retry topics: the timers by which they are fetched from again.
        self._early: dict[TopicPartition, asyncio.TimerHandle] = {}
        self._waiter: asyncio.Future[None] | None = None

    # ---- assignment

    def begin(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        """Take over an assignment. A pause goes on: the consumer forgets it, we do not."""
        self.epoch = epoch
        self.in_flight = 0
        self._lanes.early = 0
        self.is_closed = self._is_finished
        self._ends = ends
        self.trackers = {}
        for timer in self._early.values():
            timer.cancel()
        self._early.clear()
        if self._is_paused and ends:
            self._consumer.pause(list(ends))
        self._look_again()

    def owned(self) -> list[TopicPartition]:
        """The partitions of the present assignment."""
        return list(self._ends)

    # ---- pauses

    def pause(self) -> None:
        """Fetch nothing until `resume`, also of a new assignment."""
        self._is_paused = True
        self._consumer.pause(self.owned())

    def resume(self) -> None:
        """Fetch again, except where too much is uncommitted."""
        self._is_paused = False
        full = {tracker.partition for tracker in self.trackers.values() if tracker.is_paused}
        full.update(self._early)
        self._consumer.resume([partition for partition in self._ends if partition not in full])

    # ---- fetching

    async def run(self, topics: Sequence[str], listener: Listener) -> None:
        """Join the group, then fetch until `finish`."""
        while not self._is_finished:
            try:
                await self._consumer.join(topics, listener)
            except _FETCH_AGAIN:
                await self._wait(BACKOFF_CAP_US)
            else:
                break
        backoff_us = BACKOFF_US
        while not self._is_finished:
            room = self._in_flight_max - self.in_flight + self._lanes.early
            if room <= 0:
                await self._wait(None)
                continue
            epoch = self.epoch
            try:
                records = await self._consumer.poll(min(room, self._batch))
            except _FETCH_AGAIN:
                await self._wait(backoff_us)
                backoff_us = min(2 * backoff_us, BACKOFF_CAP_US)
                continue
            backoff_us = BACKOFF_US
            # Records of another assignment must not be counted under this one.
            if records and epoch == self.epoch and not self.is_closed:
                self._take_in(records)

    def finish(self) -> None:
        """Let `run` return; nothing more comes in."""
        self.is_closed = True
        self._is_finished = True
        self._consumer.wake()
        self._look_again()

    def settled(self, held: Held) -> None:
        """A delivery of the present epoch was settled."""
        self.in_flight -= 1
        if held.is_early:
            self._lanes.early -= 1
        tracker = held.tracker
        if tracker.is_paused and tracker.window <= self._window_max // 2:
            tracker.is_paused = False
            self._resume(tracker)
        if self._waiter is not None:
            self._look_for_room()

    def came_early(self, held: Held, for_us: int, *, by_tier: bool) -> None:
        """A delivery was parked that came before its time, which is in `for_us`.

        Only where its tier says so are those behind it not due any sooner: they may be left where
        they are.
        """
        if self._waiter is not None:
            self._look_for_room()
        tracker = held.tracker
        partition = tracker.partition
        if not by_tier or self._lanes.early <= self._in_flight_max or partition in self._early:
            return
        loop = asyncio.get_running_loop()
        self._early[partition] = loop.call_later(for_us / 1e6, self._is_due, tracker)
        self._consumer.pause([partition])

    def _is_due(self, tracker: OffsetTracker) -> None:
        del self._early[tracker.partition]
        if not tracker.is_paused:
            self._resume(tracker)

    def _resume(self, tracker: OffsetTracker) -> None:
        if not self._is_paused and tracker.partition not in self._early:
            self._consumer.resume([tracker.partition])

    def _look_for_room(self) -> None:
        if self.in_flight - self._lanes.early <= self._enough_room:
            self._look_again()

    def _take_in(self, records: Sequence[Record]) -> None:
        epoch = self.epoch
        trackers = self.trackers
        skips = self._skips
        add = self._lanes.add
        for record in records:
            tracker = trackers.get((record.topic, record.partition)) or self._track(record)
            is_new = tracker.delivered(record.offset)
            if skips(record):
                self._skip(record, tracker)
            else:
                self.in_flight += 1
                ends = self._ends
                add(_hold(record, self._group, epoch, tracker, may_be_known=is_new, ends=ends))
            if tracker.window > self._window_max and not tracker.is_paused:
                tracker.is_paused = True
                self._consumer.pause([tracker.partition])
        busy = self.in_flight - self._lanes.early
        if busy > self._most:
            self._most = busy
            if self._write is not None:
                self._write(("held", self._now(), self._process, "", self._group, self._most))

    def _track(self, record: Record) -> OffsetTracker:
        """The first record of an owned partition has come in."""
        partition = TopicPartition(record.topic, record.partition)
        assert partition in self._ends, f"a record of {partition}, which is another's"
        self.trackers[partition] = tracker = OffsetTracker(partition)
        return tracker

    def _skip(self, record: Record, tracker: OffsetTracker) -> None:
        """Settle a record that nobody reads: it counts for the position, and for nothing else."""
        offset = record.offset
        # It was seen to: a drain must not leave a gap below it.
        tracker.started = max(tracker.started, offset)
        tracker.settled(offset)
        self._committer.settled(tracker)
        if self._write is not None:
            self._write(
                (
                    "settle",
                    self._now(),
                    self._process,
                    text_header(record.headers, H_SUBJECT),
                    self._group,
                    record.topic,
                    record.partition,
                    offset,
                    self.epoch,
                    usable_id(header(record.headers, H_ID)),
                    "ack",
                    "unread",
                    0,
                )
            )

    async def _wait(self, at_most_us: int | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = None if at_most_us is None else loop.call_later(at_most_us / 1e6, self._look_again)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _look_again(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _hold(
    record: Record,
    group: str,
    epoch: int,
    tracker: OffsetTracker,
    *,
    may_be_known: bool,
    ends: Mapping[TopicPartition, int],
) -> Held:
    headers = by_name(record.headers)
    if PLAIN not in record.headers and is_structured(headers.get(CONTENT_TYPE)):
        headers = by_name(as_readable(record.headers, record.value)[0])
    topic = record.topic
    return Held(
        record,
        group,
        epoch,
        _number(headers.get(H_ATTEMPT)) or 1,
        headers.get(H_TYPE, b"").decode("utf-8", "replace"),
        usable_id(headers.get(H_ID)),
        headers.get(H_SUBJECT, b"").decode("utf-8", "replace"),
        _number(headers.get(H_REDRIVES)),
        # A record of a retry topic was started from its main topic before.
        may_be_known and "." not in topic and record.offset >= ends[tracker.partition],
        tracker=tracker,
    )


def _number(text: bytes | None) -> int:
    """A decimal header, 0 if it is missing or no sane number."""
    return int(text) if text is not None and text.isdigit() and len(text) <= 18 else 0
