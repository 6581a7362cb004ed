"""What wrappers of the bus's ports are made of: they hand every call on, and override some.

Not here: any fault.
"""

from collections.abc import Mapping, Sequence

from lab.domain.envelope import H_SUBJECT, H_TYPE, Headers, header
from lab.domain.events import READS
from lab.ports.bus import Consumer, Listener, Record, TopicPartition


def subject_of(headers: Headers) -> str:
    """The order of a record as `ordinal.send`; "" if it does not say."""
    return (header(headers, H_SUBJECT) or b"").decode(errors="replace")


class Reads:
    """Whether a group handles a record: others it acknowledges unread, and no fault is for them."""

    def __init__(self, group: str) -> None:
        self._types = frozenset(name.encode() for name in READS[group])

    def __call__(self, record: Record) -> bool:
        return header(record.headers, H_TYPE) in self._types


class ConsumerWrapper(Consumer):
    """Hands every call on to the consumer inside."""

    def __init__(self, inner: Consumer) -> None:
        self._inner = inner

    async def join(self, topics: Sequence[str], listener: Listener) -> None:
        await self._inner.join(topics, listener)

    async def poll(self, max_records: int) -> list[Record]:
        return await self._inner.poll(max_records)

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


class ListeningConsumer(ConsumerWrapper, Listener):
    """A wrapper that stands between the member and its listener too."""

    _listener: Listener

    async def join(self, topics: Sequence[str], listener: Listener) -> None:
        self._listener = listener
        await self._inner.join(topics, self)

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        await self._listener.on_revoked(partitions)

    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None:
        await self._listener.on_assigned(epoch, ends)
