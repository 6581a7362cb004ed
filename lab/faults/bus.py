"""Faults of the bus, as wrappers of a process's ports: duplicates, lost acks, poison.

Not here: faults of the broker itself; these three need nothing from it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from lab.domain.envelope import H_SUBJECT, H_TYPE, Headers, header
from lab.domain.events import READS, TOPICS
from lab.faults.plan import FaultPlan, Site
from lab.faults.rows import READ_TYPES
from lab.ports.bus import (
    Ack,
    Consumer,
    Delivery,
    Handle,
    Listener,
    Outgoing,
    Publisher,
    Record,
    Retry,
    Settlement,
    TopicPartition,
)

GARBAGE: Final = b"\xff\x00{poison"
"""No JSON, no UTF-8: nobody can decode it."""


def subject_of(headers: Headers) -> str:
    """The order of a record as `ordinal.send`; "" if it does not say."""
    return (header(headers, H_SUBJECT) or b"").decode(errors="replace")


class DuplicatingConsumer(Consumer):
    """`bus.duplicate`: hands a record out twice in a row, same offset.

    Only records that the group handles; a poll for one record has no room for a second.
    """

    def __init__(self, inner: Consumer, *, plan: FaultPlan, group: str) -> None:
        self._inner = inner
        self._site = plan.at("bus.duplicate", group)
        self._reads = frozenset(name.encode() for name in READS[group])

    async def poll(self, max_records: int) -> list[Record]:
        if max_records < 2:
            return await self._inner.poll(max_records)
        records = await self._inner.poll(max_records // 2)
        handed: list[Record] = []
        for record in records:
            handed.append(record)
            if not self._is_read(record):
                continue
            if self._site.fires(subject_of(record.headers)) is not None:
                handed.append(record)
        return handed

    def _is_read(self, record: Record) -> bool:
        return header(record.headers, H_TYPE) in self._reads

    async def join(self, topics: Sequence[str], listener: Listener) -> None:
        await self._inner.join(topics, listener)

    def wake(self) -> None:
        self._inner.wake()

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:
        await self._inner.commit(offsets, epoch)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self._inner.pause(partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self._inner.resume(partitions)

    async def leave(self) -> None:
        await self._inner.leave()


class PoisoningPublisher(Publisher):
    """`bus.poison`: the value of a record on a main topic becomes garbage; its headers stay.

    The coin belongs to the event: a relay that publishes it again publishes garbage again.
    """

    def __init__(self, inner: Publisher, *, plan: FaultPlan) -> None:
        self._inner = inner
        self._sites: dict[bytes, Site] = {
            name.encode(): plan.at("bus.poison", name)
            for name in READ_TYPES
            if plan.wants("bus.poison", name)
        }

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await self._inner.publish([self._spoil(record) for record in records])

    def _spoil(self, record: Outgoing) -> Outgoing:
        if record.topic not in TOPICS:
            return record
        site = self._sites.get(header(record.headers, H_TYPE) or b"")
        if site is None or not site.marks(subject_of(record.headers)):
            return record
        return msgspec.structs.replace(record, value=GARBAGE)


def drop_acks(handle: Handle, *, plan: FaultPlan, group: str, lease_us: int) -> Handle:
    """`bus.drop_ack`: a link outside of all others that turns an ack into a retry after the lease.

    The same attempt comes again: losing an ack is nobody's failure. What was acknowledged unread is
    left alone.
    """
    site = plan.at("bus.drop_ack", group)
    lost = Retry(after_us=lease_us, counts=False)

    async def drop_ack(delivery: Delivery) -> Settlement:
        settlement = await handle(delivery)
        if isinstance(settlement, Ack) and settlement.why != "unread":
            return lost if site.fires(delivery.subject) else settlement
        return settlement

    return drop_ack
