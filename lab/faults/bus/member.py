"""Faults of a group's member: it has to join again, or the network cuts it off from the broker.

Not here: an outage of the broker, which every process sees and the nemesis times.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from lab.domain.envelope import H_SUBJECT, text_header
from lab.domain.errors import Transient
from lab.faults.bus.wrappers import ListeningConsumer, Reads
from lab.faults.plan.plan import FaultPlan
from lab.ports.bus import Consumer, Listener, Outgoing, Publisher, Record, TopicPartition
from lab.ports.clock import Clock

REBALANCE: Final = "bus.rebalance"
PARTITION: Final = "bus.partition"

UNTIL_STARTED_US: Final = 1_000
"""Time from the hand-over of a record to the rebalance that it causes: its handler runs by then."""


class RejoiningConsumer(ListeningConsumer):
    """A member that can be made to join its group again."""

    def __init__(self, inner: Consumer) -> None:
        super().__init__(inner)
        self._topics: Sequence[str] = ()
        self._owned: Sequence[TopicPartition] | None = None
        # The group may rebalance by itself meanwhile: its listener is told once.
        self._one_at_a_time = asyncio.Lock()

    async def join(self, topics: Sequence[str], listener: Listener) -> None:
        self._topics = tuple(topics)
        self._owned = None
        await super().join(topics, listener)

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:  # noqa: ARG002 - the port's shape; all of them go
        await self._give_up()

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        async with self._one_at_a_time:
            self._owned = tuple(ends)
            await super().on_assigned(epoch, ends)

    async def _join_again(self) -> None:
        """Give everything up as at any rebalance, leave, and become a member again.

        Raises:
            Transient: the broker was not reached; to be called again.
        """
        await self._give_up()
        await self._inner.leave()
        await self._inner.join(self._topics, self)

    async def _give_up(self) -> None:
        async with self._one_at_a_time:
            owned, self._owned = self._owned, None
            if owned is not None:
                await super().on_revoked(owned)


class RebalancingConsumer(RejoiningConsumer):
    """`bus.rebalance`: the group goes on to its next generation while the record is handled.

    Deliveries in hand are drained and the rest is fenced; uncommitted records come again.
    """

    def __init__(self, inner: Consumer, *, plan: FaultPlan, group: str, clock: Clock) -> None:
        super().__init__(inner)
        self._site = plan.at(REBALANCE, group)
        self._reads = Reads(group)
        self._clock = clock
        self._must_join = False

    async def poll(self, max_records: int) -> list[Record]:
        if self._must_join:
            await self._clock.sleep_us(UNTIL_STARTED_US)
            await self._join_again()
            self._must_join = False
            return []
        records = await self._inner.poll(max_records)
        for record in records:
            subject = text_header(record.headers, H_SUBJECT)
            if subject and self._reads(record) and self._site.fires(subject) is not None:
                self._must_join = True
        return records


class Network:
    """The way from one process life to the broker. A new life finds it whole."""

    def __init__(self, plan: FaultPlan, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock
        self._until_us = 0

    @staticmethod
    def is_wanted(plan: FaultPlan, group: str) -> bool:
        """Whether the run cuts this group's members off."""
        return plan.wants(PARTITION, group)

    @property
    def is_cut(self) -> bool:
        """Whether nothing comes through; healing ends that too."""
        return self._clock.now_us() < self._until_us and self._plan.is_active

    def cut(self, for_us: int) -> None:
        """From now on nothing comes through, for `for_us`."""
        self._until_us = max(self._until_us, self._clock.now_us() + for_us)

    async def reach(self) -> None:
        """Raises Transient if nothing comes through."""
        if self.is_cut:
            await self._clock.sleep_us(0)
            raise Transient("the broker cannot be reached: the network is cut")


class CutConsumer(RejoiningConsumer):
    """`bus.partition`: the member that gets the record is cut off from the broker.

    The member goes on with the records in hand and can commit none of them. If the cut lasts longer
    than the session, the group goes on without the member, which learns of it afterwards. A real
    client's heartbeats do not pass this wrapper, so the wrapper leaves when the session is over.
    """

    def __init__(
        self,
        inner: Consumer,
        *,
        plan: FaultPlan,
        group: str,
        clock: Clock,
        network: Network,
        session_us: int,
    ) -> None:
        super().__init__(inner)
        self._site = plan.at(PARTITION, group)
        self._reads = Reads(group)
        self._clock = clock
        self._network = network
        self._session_us = session_us
        self._session: asyncio.Task[None] | None = None
        self._is_expelled = False

    async def join(self, topics: Sequence[str], listener: Listener) -> None:
        self._is_expelled = False
        await super().join(topics, listener)

    async def poll(self, max_records: int) -> list[Record]:
        await self._network.reach()
        if self._is_expelled:
            await self._join_again()
            self._is_expelled = False
            return []
        records = await self._inner.poll(max_records)
        cut_us = max(map(self._cut_us, records), default=0)
        if cut_us:
            self._network.cut(cut_us)
            if cut_us > self._session_us:
                self._session = asyncio.get_running_loop().create_task(self._end_session())
        return records

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:
        await self._network.reach()
        await super().commit(offsets, epoch)

    async def leave(self) -> None:
        if self._session is not None:
            self._session.cancel()
        await self._network.reach()
        await super().leave()

    def _cut_us(self, record: Record) -> int:
        subject = text_header(record.headers, H_SUBJECT)
        firing = self._site.fires(subject) if subject and self._reads(record) else None
        return 0 if firing is None else firing.number("by")

    async def _end_session(self) -> None:
        await self._clock.sleep_us(self._session_us)
        if self._network.is_cut:
            self._is_expelled = True
            await self._inner.leave()


class CutPublisher(Publisher):
    """`bus.partition`: a member that is cut off cannot publish either."""

    def __init__(self, inner: Publisher, network: Network) -> None:
        self._inner = inner
        self._network = network

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await self._network.reach()
        await self._inner.publish(records)
