"""A consumer of a real Kafka: the promises of the port, kept by members of one group.

The client library's fetcher, coordinator and heartbeats do the talking; added here are the
port's promises: the epoch is the group's generation, a commit is of the epoch that it names, no
record is handed out while partitions change hands, a poll can be woken, every wait ends.
Not here: the library and its private parts (`member.py`), and the handling of records.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from aiokafka.structs import TopicPartition as BrokerPartition

from lab.bus.kafka.client import KAFKA_ERRORS, KafkaSettings, mapped
from lab.bus.kafka.member import OUT_OF_RANGE, GroupMember, fenced
from lab.bus.kafka.rest import Rest
from lab.domain.errors import LabError, Transient
from lab.ports.bus import Consumer, Listener, Record, TopicPartition, Unread


class KafkaConsumer(Consumer):
    """One member of one group. A member that the library has lost is replaced by a new one.

    Args:
        settings: see `KafkaSettings`.
        group: the group, without the run's prefix.
        process: names the member.
        unread: where the group starts in a partition without a committed offset.
    """

    def __init__(self, settings: KafkaSettings, group: str, process: str, unread: Unread) -> None:
        self._settings = settings
        self._group = group
        self._process = process
        self._unread = unread
        self._topics: tuple[str, ...] = ()
        self._listener: Listener | None = None
        self._member: GroupMember | None = None
        self._is_broken = False
        self._rest = Rest()
        self._unheard: LabError | None = None
        self._epoch = 0
        self._is_assigned = False
        self._is_open = False
        self._changes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._alive_s = 0.0
        self._pulse: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None

    # ---- the port

    async def join(self, topics: Sequence[str], listener: Listener) -> None:
        await self.leave()
        self._topics = tuple(topics)
        self._listener = listener
        await self._start()

    async def poll(self, max_records: int) -> list[Record]:
        changes = self._changes
        while True:
            if self._unheard is not None:
                error, self._unheard = self._unheard, None
                raise error
            if self._is_broken:
                await self._give_up_member()
                if await self._is_resting(changes):
                    return []
                await self._start_again()
            if changes != self._changes:
                return []
            self._hear_of_errors()
            if self._is_open and self._is_awake():
                records = await self._fetched(max_records)
                if records:
                    return records
            await self._wait()

    def wake(self) -> None:
        self._changes += 1
        _resolve(self._waiter)

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:
        member = self._member
        if member is None or epoch != self._epoch:
            raise fenced(self._group, epoch, self._epoch)
        try:
            await member.commit(offsets, epoch)
        except TimeoutError:
            raise Transient("commit: the broker did not answer in time") from None
        except KAFKA_ERRORS as error:
            raise mapped(error, "commit") from error

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        if self._member is not None:
            self._member.pause(partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        if self._member is not None:
            self._member.resume(partitions)

    async def leave(self) -> None:
        member, self._member = self._member, None
        self._is_assigned = False
        self._is_broken = False
        self._close_assignment()
        if member is not None:
            await member.stop()

    # ---- life of the member

    async def _start(self) -> None:
        member = GroupMember(self._settings, self._group, self._process)
        self._member = member
        try:
            await member.connect()
        except BaseException as error:
            self._member = None
            await member.stop()
            if isinstance(error, KAFKA_ERRORS):
                raise mapped(error, "join") from error
            raise
        if self._member is not member:
            raise Transient("join: this consumer has left meanwhile")
        self._rest.began(asyncio.get_running_loop().time())
        member.subscribe(self._topics, on_revoked=self._revoked, on_assigned=self._assigned)

    async def _give_up_member(self) -> None:
        """Let the group share out what a member has that cannot go on."""
        member = self._member
        if member is not None:
            await self._revoked(member)
            self._member = None
            await member.stop()

    async def _is_resting(self, changes: int) -> bool:
        """Wait until the next member may join; True if somebody woke us meanwhile.

        A member that fails as soon as it has joined makes the whole group share out anew each time.
        """
        loop = asyncio.get_running_loop()
        while (left_s := self._rest.until_s - loop.time()) > 0:
            if changes != self._changes:
                return True
            self._waiter = waiter = loop.create_future()
            timer = loop.call_later(left_s, _resolve, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                timer.cancel()
        return False

    async def _start_again(self) -> None:
        """Join with a new member in place of one that is lost."""
        await self._start()
        self._is_broken = False

    def _broke(self) -> None:
        """The member cannot go on, and is to be replaced."""
        if not self._is_broken:
            self._is_broken = True
            self._rest.broke(asyncio.get_running_loop().time())

    def _hear_of_errors(self) -> None:
        """The library keeps an error of the group to itself, and does nothing until it is heard."""
        if self._member is None or self._is_open:
            return
        try:
            self._member.check()
        except KAFKA_ERRORS as error:
            self._broke()
            raise mapped(error, "join") from error

    # ---- rebalances, in the order in which the library tells of them

    async def _revoked(self, member: GroupMember) -> None:
        """The member gives up everything that it has."""
        if member is not self._member:
            return
        self._is_open = False
        self.wake()
        if self._is_assigned:
            self._is_assigned = False
            assert self._listener is not None
            places = [self._settings.own(place) for place in sorted(member.owned)]
            await self._listener.on_revoked(places)
        if member is self._member:
            self._close_assignment()

    async def _assigned(self, member: GroupMember, partitions: Sequence[BrokerPartition]) -> None:
        """The member owns these partitions."""
        if member is not self._member:
            return
        assert self._listener is not None
        epoch = member.generation
        try:
            at_the_end = self._unread is Unread.LATEST
            ends, lost = await member.starts(partitions, at_the_end=at_the_end)
        except KAFKA_ERRORS as error:
            # Nothing can be promised about starts without the ends: the group assigns once more.
            self._unheard = mapped(error, "join")
            self._broke()
            self.wake()
            return
        if member is not self._member:
            return
        for place, start, end in lost:
            self._listener.on_lost(self._settings.own(place), start, end)
        self._epoch = epoch
        self._is_assigned = True
        own = self._settings.own
        await self._listener.on_assigned(epoch, {own(place): end for place, end in ends.items()})
        if member is self._member and self._is_assigned:
            self._is_open = True
            self._beat()
            self.wake()

    def _close_assignment(self) -> None:
        self._epoch = 0
        self._is_open = False
        if self._pulse is not None:
            self._pulse.cancel()
            self._pulse = None
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        self.wake()

    # ---- a process that stood still may have been expelled, and would read on all the same

    def _beat(self) -> None:
        """Note, twice a session, that this process runs."""
        loop = asyncio.get_running_loop()
        session_s = self._settings.session_us / 1e6
        if self._pulse is None or self._is_awake():
            self._alive_s = loop.time()
        self._pulse = loop.call_later(session_s / 4, self._beat)

    def _is_awake(self) -> bool:
        """Whether the member surely still owns its partitions; if not, the group is asked."""
        loop = asyncio.get_running_loop()
        if self._asking is None:
            if loop.time() - self._alive_s <= self._settings.session_us / 2e6:
                return True
            self._asking = loop.create_task(self._ask(self._member))
        return False

    async def _ask(self, member: GroupMember | None) -> None:
        """Hear from the group whether we are in it. If not, the library joins anew."""
        loop = asyncio.get_running_loop()
        while member is not None and member is self._member:
            asked_s = loop.time()
            with suppress(*KAFKA_ERRORS):
                if await member.is_in_group():
                    self._alive_s = asked_s
                    break
            await asyncio.sleep(self._settings.heartbeat_us / 1e6)
        self._asking = None
        _resolve(self._waiter)

    # ---- fetching

    async def _fetched(self, max_records: int) -> list[Record]:
        assert self._member is not None, "it is open"
        try:
            return await self._member.fetched(max_records)
        except OUT_OF_RANGE:
            # Retention has passed a position. The group assigns once more, and hears what is lost.
            self._member.rejoin()
            return []
        except KAFKA_ERRORS as error:
            self._broke()
            raise mapped(error, "poll") from error

    async def _wait(self) -> None:
        """Wait until records or a change may have come; raise if the broker seems to be gone."""
        loop = asyncio.get_running_loop()
        member = self._member
        arrived = None
        self._waiter = waiter = loop.create_future()
        timer = loop.call_later(self._settings.reached_us / 1e6, _resolve, waiter)
        if member is not None:
            arrived = member.records_come()
            arrived.add_done_callback(lambda future: _pass_on(future, waiter))
        started_us = loop.time()
        try:
            await waiter
        finally:
            self._waiter = None
            timer.cancel()
            if arrived is not None:
                arrived.cancel()
        if loop.time() - started_us >= self._settings.reached_us / 1e6:
            self._must_be_reached(member)

    def _must_be_reached(self, member: GroupMember | None) -> None:
        if member is None or member is not self._member:
            raise Transient("poll: this consumer is no member")
        if member.is_lost:
            self._broke()
        if not member.knows_its_broker:
            raise Transient("poll: the broker cannot be reached")


def _resolve(future: "asyncio.Future[None] | None") -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _pass_on(arrived: "asyncio.Future[None]", waiter: "asyncio.Future[None]") -> None:
    """Records have come, or an error that the next fetch will raise."""
    if not arrived.cancelled():
        arrived.exception()
    _resolve(waiter)
