"""A consumer of the memory log: a member's own side, which dies with its process.

Fetch positions, pause flags and the calls to the listener are here, as in a Kafka client. A call
suspends once and is then applied in one step.

Not here: the group (`groups.py`).
"""

from __future__ import annotations

from types import coroutine
from typing import TYPE_CHECKING, Protocol

from lab.bus.turns import Turns
from lab.ports.bus import Consumer, Listener, Record, TopicPartition, Unread, is_main_topic

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator, Mapping, Sequence

    from lab.bus.memory.groups import Group, MemoryMember, SimLoop
    from lab.bus.memory.topics import PartitionLog, Topic


@coroutine
def suspend() -> Generator[None, None, None]:
    """Give way once: the point at which a crash may come between a call and its effect."""
    yield


class Broker(Protocol):
    """The server, as a consumer sees it. None of these calls waits."""

    is_down: bool

    def reached(self) -> None:
        """Raises Transient if the broker cannot be reached."""
        ...

    def coordinated(self, group: Group) -> None:
        """Raises Transient if no broker sees to the group just now."""
        ...

    def topic(self, name: str) -> Topic:
        """One that exists."""
        ...

    def commit(
        self,
        group: Group,
        member: MemoryMember | None,
        offsets: Mapping[TopicPartition, int],
        epoch: int,
    ) -> None:
        """Set the group's offsets. Raises Fenced."""
        ...


class MemoryConsumer(Consumer):
    """One member of one group, on the loop of its process. Made by `MemoryLog.consumer`."""

    def __init__(
        self, broker: Broker, group: Group, name: str, loop: SimLoop, unread: Unread
    ) -> None:
        self._broker = broker
        self._group = group
        self._name = name
        self.loop = loop
        self._unread = unread
        self._topics: Sequence[str] = ()
        self._listener: Listener | None = None
        self._member: MemoryMember | None = None
        self._owned: dict[TopicPartition, int] = {}
        self._owned_topics: list[Topic] = []
        # Of the owned partitions that hold something; a pause is of any of them.
        self._fetches: dict[TopicPartition, Fetch] = {}
        self._paused: set[TopicPartition] = set()
        self._ready: dict[Fetch, None] = {}
        self._ready_retries: dict[Fetch, None] = {}
        self._turns = Turns()
        self._waiter: asyncio.Future[None] | None = None
        self._is_open = False
        self._changes = 0
        # Of the task that talks to the group and the listener; it exists while there is a need.
        self._is_coordinating = False
        self._must_rejoin = False
        self._assignment: tuple[int, Sequence[TopicPartition]] | None = None
        self._is_assigned = False
        loop.on_kill.append(self._killed)

    # ---- the port

    async def join(self, topics: Sequence[str], listener: Listener) -> None:
        await suspend()
        self._broker.reached()
        self._broker.coordinated(self._group)
        self._topics = tuple(topics)
        self._listener = listener
        self._must_rejoin = False
        self._assignment = None
        self._member = self._group.join(self, self._name, self._topics)

    async def poll(self, max_records: int) -> list[Record]:
        changes = self._changes
        # Either way it suspends: waiting for news is a suspension as good as any.
        if ((self._ready or self._ready_retries) and self._is_open) or self._broker.is_down:
            await suspend()
        else:
            await self._news()
        while True:
            self._broker.reached()
            if changes != self._changes:
                return []
            if (self._ready or self._ready_retries) and self._is_open:
                return self._take(max_records)
            await self._news()

    def wake(self) -> None:
        self._changes += 1
        self._wake()

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:
        await suspend()
        self._broker.reached()
        self._broker.coordinated(self._group)
        self._broker.commit(self._group, self._member, offsets, epoch)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self._paused.update(self._owned.keys() & partitions)
        for partition in partitions:
            fetch = self._fetches.get(partition)
            if fetch is not None:
                fetch.pause()

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self._paused.difference_update(partitions)
        for partition in partitions:
            fetch = self._fetches.get(partition)
            if fetch is not None:
                fetch.resume()

    async def leave(self) -> None:
        await suspend()
        member, self._member = self._member, None
        if member is not None:
            self._group.leave(member)
        self._forget()
        self._is_assigned = False

    # ---- as the group sees it

    def rejoin_wanted(self) -> None:
        self._must_rejoin = True
        self._coordinate_soon()

    def assigned(self, generation: int, partitions: Sequence[TopicPartition]) -> None:
        self._assignment = (generation, partitions)
        self._coordinate_soon()

    def silent(self) -> None:
        """The process was stopped; its session runs out unless `heard` comes in time."""
        if self._member is not None:
            self._group.silent(self._member)

    def heard(self) -> None:
        """The process goes on."""
        if self._member is not None:
            self._group.heard(self._member)

    def _killed(self) -> None:
        self._forget()
        self.silent()

    # ---- its own side of a rebalance

    def _coordinate_soon(self) -> None:
        if not self._is_coordinating and not self.loop.dead:
            self._is_coordinating = True
            self.loop.create_task(self._coordinate())

    async def _coordinate(self) -> None:
        """Follow the group until it is satisfied: give up and rejoin, take over an assignment.

        A listener that raises breaks the adapter's promise to call it; it ends this task, and the
        loop of the process reports that.
        """
        try:
            while self._member is not None:
                if self._must_rejoin:
                    await self._give_up()
                elif self._assignment is not None:
                    await self._take_over()
                else:
                    return
        finally:
            self._is_coordinating = False

    async def _give_up(self) -> None:
        assert self._listener is not None
        member = self._member
        self._is_open = False
        self.wake()
        if self._is_assigned:
            self._is_assigned = False
            await self._listener.on_revoked(tuple(self._owned))
        self._forget()
        await suspend()
        if member is None or member is not self._member:
            return  # It left meanwhile, and may be another member by now.
        # Both cleared in the step of the request: a request of the group from here on is newer.
        self._must_rejoin = False
        self._assignment = None
        if not self._group.rejoin(member):
            self._member = self._group.join(self, self._name, self._topics)

    async def _take_over(self) -> None:
        assert self._listener is not None
        await suspend()
        if self._assignment is None or self._must_rejoin or self._member is None:
            return
        (generation, partitions), self._assignment = self._assignment, None
        self._forget()
        self._owned = ends = dict.fromkeys(partitions, 0)
        self._owned_topics = [self._broker.topic(name) for name in sorted(self._topics)]
        for topic in self._owned_topics:
            topic.owners.append(self)
            for log in topic.in_order():
                if log.partition in ends:
                    ends[log.partition] = log.end
                    self.opened(log)
        self._is_assigned = True
        await self._listener.on_assigned(generation, ends)
        if not self._must_rejoin:
            self._is_open = True
            self.wake()

    def opened(self, log: PartitionLog) -> None:
        """See `Owner`."""
        partition = log.partition
        if partition in self._owned:
            fetch = Fetch(log, self._start_of(partition, log), self)
            self._fetches[partition] = fetch
            log.readers.append(fetch)
            if partition in self._paused:
                fetch.pause()
            else:
                fetch.resume()

    def _start_of(self, partition: TopicPartition, log: PartitionLog) -> int:
        committed = self._group.committed.get(partition)
        if committed is not None:
            return committed
        return log.end if self._unread is Unread.LATEST else log.base

    def _forget(self) -> None:
        for fetch in self._fetches.values():
            fetch.log.readers.remove(fetch)
        for topic in self._owned_topics:
            topic.owners.remove(self)
        self._fetches = {}
        self._owned, self._owned_topics = {}, []
        self._paused.clear()
        self._ready.clear()
        self._ready_retries.clear()
        self._is_open = False
        self.wake()

    # ---- fetching

    def _take(self, max_records: int) -> list[Record]:
        batch: list[Record] = []
        retries = self._ready_retries
        if retries and self._turns.retries_first():
            self._fill(batch, retries, max_records)
        self._fill(batch, self._ready, max_records)
        if retries and len(batch) < max_records:
            self._fill(batch, retries, max_records)
        return batch

    def _fill(self, batch: list[Record], ready: dict[Fetch, None], max_records: int) -> None:
        while ready and len(batch) < max_records:
            fetch = next(iter(ready))
            del ready[fetch]
            log = fetch.log
            records = log.read(fetch.position, max_records - len(batch))
            if records:
                batch += records
                fetch.position = records[-1].offset + 1
            if fetch.position < log.end:
                # To the end of the line: one full partition must not starve the others.
                ready[fetch] = None

    def ready(self, fetch: Fetch) -> None:
        """There is something to fetch."""
        (self._ready_retries if fetch.is_retry else self._ready)[fetch] = None
        if self._is_open:
            self._wake()

    def unready(self, fetch: Fetch) -> None:
        """There is nothing to fetch, or it is not wanted."""
        (self._ready_retries if fetch.is_retry else self._ready).pop(fetch, None)

    def _news(self) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = self.loop.create_future()
        self._waiter = waiter
        return waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Fetch:
    """The member's position in one partition that it owns."""

    __slots__ = ("_consumer", "is_paused", "is_retry", "log", "position")

    def __init__(self, log: PartitionLog, position: int, consumer: MemoryConsumer) -> None:
        self.log = log
        self.is_retry = not is_main_topic(log.partition.topic)
        self.position = position
        self.is_paused = False
        self._consumer = consumer

    def appended(self) -> None:
        """See `Reader`."""
        if not self.is_paused:
            self._consumer.ready(self)

    def pause(self) -> None:
        """Hand out nothing."""
        self.is_paused = True
        self._consumer.unready(self)

    def resume(self) -> None:
        """Hand out the records that are there, and those that come."""
        self.is_paused = False
        self._look()

    def leader_changed(self) -> None:
        """See `Reader`."""
        if self.log.is_led:
            self._look()
        else:
            self._consumer.unready(self)

    def _look(self) -> None:
        if self.log.is_led and not self.is_paused and self.position < self.log.end:
            self._consumer.ready(self)
