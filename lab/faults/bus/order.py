"""`bus.reorder`: records come in another order than the one in which they were appended.

Not here: delays that let other records pass (`records.py`), and another order within a partition: a
log always hands a partition out in its own order.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from lab.faults.bus.wrappers import ListeningConsumer, Reads, subject_of
from lab.faults.plan.plan import FaultPlan, Firing
from lab.ports.bus import Consumer, Record, TopicPartition
from lab.ports.clock import Clock

REORDER: Final = "bus.reorder"


class ReorderingConsumer(ListeningConsumer):
    """Keeps a record back until it was overtaken, or has waited for long enough.

    What lies behind it in its partition waits with it, and so does what has its key; records of
    other keys in other partitions overtake it. When there are only such lines, the younger ones
    overtake the older. With `within_key=yes` it waits for the next of its key and topic, and the
    two change places, as if they had been appended in the other order: beyond the contract.

    What is kept back counts for what may be asked for, and is dropped with its assignment: it was
    not handed out, so it is not committed.
    """

    def __init__(self, inner: Consumer, *, plan: FaultPlan, group: str, clock: Clock) -> None:
        super().__init__(inner)
        self._site = plan.at(REORDER, group)
        self._reads = Reads(group)
        self._clock = clock
        self._lines: list[_Line] = []
        self._ready: list[Record] = []
        self._paused: dict[tuple[str, int], None] = {}
        self._wakers: dict[asyncio.Task[None], None] = {}

    # ---- the port

    async def poll(self, max_records: int) -> list[Record]:
        kept = len(self._ready) + sum(len(line.records) for line in self._lines)
        if kept >= max_records:
            self._release(self._lines)
        self._release_overdue()
        if any(map(self._is_wanted, self._ready)):
            await self._clock.sleep_us(0)
        else:
            self._arrange(await self._inner.poll(max(max_records - kept, 1)))
            self._release_overdue()
        return self._hand_out(max_records)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self._paused.update(dict.fromkeys(partitions))
        super().pause(partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            self._paused.pop(partition, None)
        super().resume(partitions)
        if self._ready:
            self._inner.wake()

    async def leave(self) -> None:
        self._forget()
        await super().leave()

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self._forget()
        await super().on_revoked(partitions)

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        self._forget()
        await super().on_assigned(epoch, ends)

    # ---- the order

    def _arrange(self, records: Sequence[Record]) -> None:
        """Let what was fetched pass, or join a line; then let go of what was overtaken."""
        is_overtaken = False
        for record in records:
            line = self._line_of(record)
            firing = self._toss(record)
            if firing is not None:
                self._site.strike(firing)
            if line is not None:
                if line.takes(record):
                    self._release([line])
            elif firing is None:
                self._ready.append(record)
                is_overtaken = is_overtaken or self._reads(record)
            else:
                self._lines.append(self._new_line(record, firing))
        if is_overtaken or len(self._lines) > 1:
            self._release([line for line in self._lines[::-1] if not line.is_within_key])

    def _toss(self, record: Record) -> Firing | None:
        subject = subject_of(record.headers)
        occurrence = self._site.visit(subject) if subject and self._reads(record) else 0
        return self._site.toss(subject, occurrence) if occurrence else None

    def _line_of(self, record: Record) -> "_Line | None":
        """The line that the record must not overtake; lines that it brings together become one."""
        found = [line for line in self._lines if line.holds(record)]
        if not found:
            return None
        first, *others = found
        for other in others:
            first.records += other.records
            self._lines.remove(other)
        return first

    def _new_line(self, record: Record, firing: Firing) -> "_Line":
        by_us = firing.number("by")
        waker = asyncio.get_running_loop().create_task(self._wake_after(by_us))
        self._wakers[waker] = None
        waker.add_done_callback(self._wakers.pop)
        is_within_key = firing.params["within_key"] == "yes"
        return _Line([record], self._clock.now_us() + by_us, is_within_key)

    async def _wake_after(self, us: int) -> None:
        await self._clock.sleep_us(us)
        self._inner.wake()

    # ---- letting go

    def _release_overdue(self) -> None:
        if self._lines:
            now_us = self._clock.now_us()
            self._release([line for line in self._lines if line.due_us <= now_us])

    def _release(self, lines: "Sequence[_Line]") -> None:
        for line in list(lines):
            self._ready += line.records
            self._lines.remove(line)

    def _hand_out(self, max_records: int) -> list[Record]:
        handed: list[Record] = []
        kept: list[Record] = []
        for record in self._ready:
            is_next = len(handed) < max_records and self._is_wanted(record)
            (handed if is_next else kept).append(record)
        self._ready = kept
        return handed

    def _is_wanted(self, record: Record) -> bool:
        return (record.topic, record.partition) not in self._paused

    def _forget(self) -> None:
        self._lines.clear()
        self._ready.clear()
        self._paused.clear()
        for waker in list(self._wakers):
            waker.cancel()


@dataclass(slots=True, eq=False)
class _Line:
    """Records that wait for others to overtake the first of them."""

    records: list[Record]
    due_us: int
    is_within_key: bool

    def holds(self, record: Record) -> bool:
        """Whether the record must stay behind one of these."""
        place = (record.topic, record.partition)
        return any(
            one.key == record.key or (one.topic, one.partition) == place for one in self.records
        )

    def takes(self, record: Record) -> bool:
        """Put the record at the end; whether it was the one that the first has waited for."""
        first = self.records[0]
        self.records.append(record)
        if not self.is_within_key or (record.topic, record.key) != (first.topic, first.key):
            return False
        self.records[0] = replace(record, offset=first.offset, timestamp_us=first.timestamp_us)
        self.records[-1] = replace(first, offset=record.offset, timestamp_us=record.timestamp_us)
        return True
