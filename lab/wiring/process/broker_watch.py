"""Looks on at the calls of one process to the broker: what fails is counted, and told once.

The delivery loop gets over a failed join or poll by trying again, so nobody else would hear of it:
a member that is refused for good would look like one that has nothing to do. Not here: the calls
themselves (`lab.bus`), and events that are lost or dead, which stand in the history.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lab.domain.errors import Fenced, Indeterminate, LabError, Transient
from lab.faults.bus.wrappers import ListeningConsumer
from lab.ports.bus import Consumer, Listener, Outgoing, Publisher, Record, TopicPartition
from lab.ports.usable import Usable
from lab.stores.reachability import Reachability, Tell

QUIET_S: Final = 30.0
"""A member whose calls failed no more for so long is of use again, though nothing came to read."""

Count = Callable[[str], object]
"""`count(call)`: a call of the consumer failed: `join`, `poll` or `commit`."""


class BrokerWatch(Usable):
    """The onlooker of one process.

    Args:
        group: its consumer group, or its role.
        tell: hears when the broker is of no use to it, and when it is again.
        count: see `Count`.
    """

    def __init__(self, group: str, *, tell: Tell, count: Count) -> None:
        self._group = group
        self._count = count
        self._member = Reachability(f"Kafka for group {group}", tell)
        self._publishing = Reachability("Kafka for publishing", tell)
        self._why = ""
        self._is_assigned = False
        self._quiet: asyncio.TimerHandle | None = None

    def why_not(self) -> str:
        return "" if self._is_assigned else self._why

    def around_consumer(self, inner: Consumer) -> Consumer:
        """The consumer of the process, looked at."""
        return _WatchedConsumer(inner, self)

    def around_publisher(self, inner: Publisher) -> Publisher:
        """Its publisher, looked at."""
        return _WatchedPublisher(inner, self._publishing)

    def failed(self, call: str, error: LabError) -> None:
        """A call of the consumer failed."""
        self._count(call)
        if isinstance(error, Fenced):
            return  # The group has moved on, which happens at every rebalance.
        self._why = str(error)
        self._member.refused(self._why)
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = asyncio.get_running_loop().call_later(QUIET_S, self._is_quiet)

    def works(self) -> None:
        """It is a member that gets records, or may commit."""
        self._why = ""
        self._member.answered()
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None

    def assigned(self) -> None:
        """It is a member of its group."""
        self._is_assigned = True
        self.works()

    def revoked(self) -> None:
        """It may be one no more."""
        self._is_assigned = False

    def _is_quiet(self) -> None:
        self._quiet = None
        if self._is_assigned:
            self.works()


class _WatchedConsumer(ListeningConsumer):
    def __init__(self, inner: Consumer, watch: BrokerWatch) -> None:
        super().__init__(inner)
        self._watch = watch

    async def join(self, topics: Sequence[str], listener: Listener) -> None:
        try:
            await super().join(topics, listener)
        except LabError as error:
            self._watch.failed("join", error)
            raise

    async def poll(self, max_records: int) -> list[Record]:
        try:
            records = await self._inner.poll(max_records)
        except LabError as error:
            self._watch.failed("poll", error)
            raise
        if records:
            self._watch.works()
        return records

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:
        try:
            await self._inner.commit(offsets, epoch)
        except LabError as error:
            self._watch.failed("commit", error)
            raise
        self._watch.works()

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self._watch.revoked()
        await super().on_revoked(partitions)

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        self._watch.assigned()
        await super().on_assigned(epoch, ends)


class _WatchedPublisher(Publisher):
    def __init__(self, inner: Publisher, reached: Reachability) -> None:
        self._inner = inner
        self._reached = reached

    async def publish(self, records: Sequence[Outgoing]) -> None:
        try:
            await self._inner.publish(records)
        except (Transient, Indeterminate) as error:
            self._reached.refused(str(error))
            raise
        self._reached.answered()
