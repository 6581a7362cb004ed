"""Faults of single deliveries and records: duplicates, lost acks, delays, poison.

Not here: their order (`order.py`), publishes (`publishes.py`), the member and its group
(`member.py`), and outages of the broker, which the nemesis times.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from lab.domain.envelope import H_SUBJECT, H_TYPE, header, text_header
from lab.domain.events import TOPICS
from lab.faults.bus.wrappers import Reads
from lab.faults.plan.plan import FaultPlan, Site
from lab.faults.table.row import READ_TYPES
from lab.ports.bus import (
    Ack,
    Consumer,
    Delivery,
    Handle,
    Outgoing,
    Publisher,
    Record,
    Retry,
    Settlement,
)
from lab.ports.pass_through import PassThroughConsumer

GARBAGE: Final = b"\xff\x00{poison"
"""Neither JSON nor UTF-8, so no reader can decode it."""


class DuplicatingConsumer(PassThroughConsumer):
    """`bus.duplicate`: hands a record out twice in a row, with the same offset.

    It strikes only records that the group handles. A poll for one record has no room for a second.
    """

    def __init__(self, inner: Consumer, *, plan: FaultPlan, group: str) -> None:
        super().__init__(inner)
        self._site = plan.at("bus.duplicate", group)
        self._reads = Reads(group)

    async def poll(self, max_records: int) -> list[Record]:
        if max_records < 2:
            return await self._inner.poll(max_records)
        reads, fires = self._reads, self._site.fires
        handed: list[Record] = []
        for record in await self._inner.poll(max_records // 2):
            handed.append(record)
            if reads(record) and fires(text_header(record.headers, H_SUBJECT)) is not None:
                handed.append(record)
        return handed


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
        if site is None or not site.marks(text_header(record.headers, H_SUBJECT)):
            return record
        return msgspec.structs.replace(record, value=GARBAGE)


def drop_acks(handle: Handle, *, plan: FaultPlan, group: str, lease_us: int) -> Handle:
    """`bus.drop_ack`: a link around the chain that turns an ack into a retry after the lease.

    The same attempt comes again, since no handler failed. A record that was acknowledged unread is
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


def delay_deliveries(handle: Handle, *, plan: FaultPlan, group: str) -> Handle:
    """`bus.delay`: a link around the chain that has a record come again later.

    Its key waits at the head of its lane; other keys pass, and no worker is held. Only first
    attempts are delayed: a promise of its own says when a failed one is repeated.
    """
    site = plan.at("bus.delay", group)
    waiting: dict[tuple[str, int, int], int] = {}
    epoch = 0

    async def delay(delivery: Delivery) -> Settlement:
        nonlocal epoch
        if delivery.epoch != epoch:
            # Records that waited under another assignment come anew.
            epoch = delivery.epoch
            waiting.clear()
        record = delivery.record
        place = (record.topic, record.partition, record.offset)
        if waiting.pop(place, 0) or delivery.attempt > 1:
            return await handle(delivery)
        firing = site.fires(delivery.subject)
        if firing is None:
            return await handle(delivery)
        waiting[place] = 1
        return Retry(after_us=firing.number("by"), counts=False)

    return delay
