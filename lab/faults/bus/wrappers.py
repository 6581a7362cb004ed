"""Parts that several faults of the bus share: the filter by group, and the wrapper that listens.

Not here: any fault.
"""

from collections.abc import Mapping, Sequence

from lab.domain.envelope import H_TYPE, by_name
from lab.domain.events import READS
from lab.ports.bus import Listener, Record, TopicPartition
from lab.ports.pass_through import PassThroughConsumer


class Reads:
    """Whether a group handles a record. It acknowledges others unread: no fault strikes those."""

    def __init__(self, group: str) -> None:
        self._types = frozenset(name.encode() for name in READS[group])

    def __call__(self, record: Record) -> bool:
        # As `header`: nearly every record that is polled is asked about.
        return by_name(record.headers).get(H_TYPE) in self._types


class ListeningConsumer(PassThroughConsumer, Listener):
    """A wrapper that also stands between the member and its listener."""

    _listener: Listener

    async def join(self, topics: Sequence[str], listener: Listener) -> None:
        self._listener = listener
        await self._inner.join(topics, self)

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        await self._listener.on_revoked(partitions)

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        await self._listener.on_assigned(epoch, ends)

    def on_lost(self, partition: TopicPartition, start: int, end: int) -> None:
        self._listener.on_lost(partition, start, end)
