"""A consumer of a real Kafka: one member of one group.

The client library's fetcher, coordinator and heartbeats do the talking; what is added here is the
port's promises: the epoch is the group's generation, a commit is of the epoch that it names, no
record is handed out while partitions change hands, a poll can be woken, every wait ends.

Where the library has no public way, a private one is taken:
the generation, one commit without its endless retries, the signal that records have come, its
background tasks, the place of a record that it cannot hand out.
Not here: what is done with the records.

Source: `aiokafka` 0.14, `consumer/group_coordinator.py`, `consumer/fetcher.py`.
"""

import asyncio
import inspect
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as BrokerPartition

from lab.bus.kafka.client import BATCH_BYTES_MAX, KAFKA_ERRORS, KafkaSettings, mapped, within
from lab.domain.errors import EnvironmentNotReady, Fenced, Transient
from lab.ports.bus import Consumer, Listener, Record, TopicPartition, Unread

# A fetch that waits on the broker delays whatever the same connection is asked next.
_FETCH_WAIT_MS: Final = 100
_FETCH_BYTES: Final = 16 * 1024 * 1024
_NEVER_MS: Final = 2**31 - 1


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
        self._member: Any = None
        self._is_broken = False
        self._epoch = 0
        self._is_told = False
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
            if self._is_broken:
                await self._start_again()
            if changes != self._changes:
                return []
            if self._is_open and self._is_awake():
                records = await self._fetched(max_records)
                if records:
                    return records
            await self._wait()

    def wake(self) -> None:
        self._changes += 1
        _resolve(self._waiter)

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:
        name = self._settings.partition
        # The broker keeps positions and no epochs: who reads its notes wants to know both.
        note = str(epoch)
        positions = {name(place): OffsetAndMetadata(at, note) for place, at in offsets.items()}
        try:
            await within(self._settings.commit_us, self._commit(positions, epoch))
        except TimeoutError:
            raise Transient("commit: the broker did not answer in time") from None
        except KAFKA_ERRORS as error:
            raise mapped(error, "commit") from error

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self._member_of(partitions, "pause")

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self._member_of(partitions, "resume")

    async def leave(self) -> None:
        member, self._member = self._member, None
        self._is_told = False
        self._is_broken = False
        self._close_assignment()
        if member is not None:
            await _stop(member, self._settings.leave_us)

    # ---- life of the member

    async def _start(self) -> None:
        settings = self._settings
        member = AIOKafkaConsumer(
            # An answer to a join comes when all others have given up.
            **settings.connection(self._process, settings.rebalance_us + 5_000_000),
            group_id=settings.topic(self._group),
            session_timeout_ms=settings.session_us // 1000,
            rebalance_timeout_ms=settings.rebalance_us // 1000,
            heartbeat_interval_ms=settings.heartbeat_us // 1000,
            enable_auto_commit=False,
            # Where the log begins. `latest` would also jump over what a trimmed log has lost.
            auto_offset_reset="earliest",
            # With more than one the library joins once for each.
            partition_assignment_strategy=(RangePartitionAssignor,),
            # Who does not poll because everything is paused is no less alive.
            max_poll_interval_ms=_NEVER_MS,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            fetch_max_bytes=_FETCH_BYTES,
            max_partition_fetch_bytes=BATCH_BYTES_MAX,
        )
        self._member = member
        try:
            await within(settings.connect_us, member.start())
        except BaseException as error:
            self._member = None
            await _stop(member, settings.leave_us)
            if isinstance(error, KAFKA_ERRORS):
                raise mapped(error, "join") from error
            raise
        if self._member is not member:
            raise Transient("join: this consumer has left meanwhile")
        listener = _Rebalances(self, member)
        member.subscribe([settings.topic(topic) for topic in self._topics], listener=listener)

    async def _start_again(self) -> None:
        """Replace a member whose coordination has ended: the library never takes it up again."""
        member = self._member
        if member is not None:
            await self.revoked(member)
            self._member = None
            await _stop(member, self._settings.leave_us)
        await self._start()
        self._is_broken = False

    # ---- rebalances, in the order in which the library tells of them

    async def revoked(self, member: Any) -> None:
        """The member gives up everything that it has."""
        if member is not self._member:
            return
        self._is_open = False
        self.wake()
        if self._is_told:
            self._is_told = False
            assert self._listener is not None
            places = [self._settings.own(place) for place in sorted(member.assignment())]
            await self._listener.on_revoked(places)
        if member is self._member:
            self._close_assignment()

    async def assigned(self, member: Any, partitions: Sequence[BrokerPartition]) -> None:
        """The member owns these partitions."""
        if member is not self._member:
            return
        assert self._listener is not None
        coordinator = member._coordinator
        epoch = int(coordinator.generation)
        try:
            ends = await within(self._settings.connect_us, self._look_up(member, partitions))
        except KAFKA_ERRORS:
            # Nothing can be promised about starts without the ends: the group assigns once more.
            coordinator.request_rejoin()
            return
        if member is not self._member:
            return
        self._epoch = epoch
        self._is_told = True
        own = self._settings.own
        await self._listener.on_assigned(epoch, {own(place): end for place, end in ends.items()})
        if member is self._member and self._is_told:
            self._is_open = True
            self._beat()
            self.wake()

    async def _look_up(
        self, member: Any, partitions: Sequence[BrokerPartition]
    ) -> Mapping[BrokerPartition, int]:
        """End of each partition; a group that starts at the end is put there."""
        if not partitions:
            return {}
        ends: dict[BrokerPartition, int] = await member.end_offsets(partitions)
        if self._unread is Unread.LATEST:
            for place in partitions:
                if await member.committed(place) is None:
                    member.seek(place, ends[place])
        return {place: ends[place] for place in partitions}

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

    # ---- a process that stood still may have been expelled, and would read on with what it had

    def _beat(self) -> None:
        """Note, twice a session, that this process runs."""
        loop = asyncio.get_running_loop()
        session_s = self._settings.session_us / 1e6
        if self._pulse is None or self._is_awake():
            self._alive_s = loop.time()
        self._pulse = loop.call_later(session_s / 4, self._beat)

    def _is_awake(self) -> bool:
        """Whether the member surely still owns what it has; if not, the group is asked."""
        loop = asyncio.get_running_loop()
        if self._asking is None:
            if loop.time() - self._alive_s <= self._settings.session_us / 2e6:
                return True
            self._asking = loop.create_task(self._ask(self._member))
        return False

    async def _ask(self, member: Any) -> None:
        """Hear from the group whether we are in it. If not, the library joins anew."""
        loop = asyncio.get_running_loop()
        while member is self._member:
            asked_s = loop.time()
            with suppress(*KAFKA_ERRORS):
                if await within(self._settings.commit_us, member._coordinator._do_heartbeat()):
                    self._alive_s = asked_s
                    break
            await asyncio.sleep(self._settings.heartbeat_us / 1e6)
        self._asking = None
        _resolve(self._waiter)

    # ---- fetching

    async def _fetched(self, max_records: int) -> list[Record]:
        """What the library has at hand. It never waits: a cancelled wait of its would leak."""
        try:
            batches = await self._member.getmany(timeout_ms=0, max_records=max_records)
        except KAFKA_ERRORS as error:
            self._is_broken = True
            raise mapped(error, "poll") from error
        except UnicodeDecodeError as error:
            raise _unreadable(self._member, self._group, self._settings) from error
        settings = self._settings
        return [to_record(found, settings) for batch in batches.values() for found in batch]

    async def _wait(self) -> None:
        """Wait until records or a change may have come; raise if the broker seems to be gone."""
        loop = asyncio.get_running_loop()
        member = self._member
        arrived = None
        self._waiter = waiter = loop.create_future()
        timer = loop.call_later(self._settings.reached_us / 1e6, _resolve, waiter)
        if member is not None and self._is_open:
            arrived = member._fetcher._create_fetch_waiter()
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

    def _must_be_reached(self, member: Any) -> None:
        if member is None or member is not self._member:
            raise Transient("poll: this consumer is no member")
        coordinator = member._coordinator
        if coordinator._coordination_task.done():
            self._is_broken = True
        if coordinator.coordinator_id is None:
            raise Transient("poll: the broker cannot be reached")

    # ---- positions

    async def _commit(
        self, positions: "Mapping[BrokerPartition, OffsetAndMetadata]", epoch: int
    ) -> None:
        member = self._member
        if member is None or epoch != self._epoch:
            raise Fenced(f"group {self._group}: a commit of epoch {epoch}, now is {self._epoch}")
        coordinator = member._coordinator
        await coordinator.ensure_coordinator_known()
        # The library's own `commit` retries under whatever generation is there by then, so that an
        # old position would be accepted as one of the new owner.
        if coordinator.generation != epoch:
            raise Fenced(
                f"group {self._group}: a commit of epoch {epoch}, now is {coordinator.generation}"
            )
        await coordinator._do_commit_offsets(None, positions)

    def _member_of(self, partitions: Sequence[TopicPartition], call: str) -> None:
        """Call `pause` or `resume` for those of the partitions that are owned."""
        member = self._member
        if member is not None:
            owned: Collection[BrokerPartition] = member.assignment()
            places = map(self._settings.partition, partitions)
            getattr(member, call)(*[place for place in places if place in owned])


def to_record(found: Any, settings: KafkaSettings) -> Record:
    """A record of the library as the port's; a foreign one may lack a key or a value."""
    headers = found.headers
    if None in [value for _name, value in headers]:
        headers = tuple((name, value or b"") for name, value in headers)
    return Record(
        found.topic[len(settings.stem) :],
        found.partition,
        found.offset,
        found.key or b"",
        found.value or b"",
        headers,
        found.timestamp * 1000,
    )


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc] # the library has no types
    """Hands the library's calls on, with the member that they are about."""

    def __init__(self, consumer: KafkaConsumer, member: Any) -> None:
        self._consumer = consumer
        self._member = member

    async def on_partitions_revoked(self, revoked: Collection[BrokerPartition]) -> None:  # noqa: ARG002
        await self._consumer.revoked(self._member)

    async def on_partitions_assigned(self, assigned: Collection[BrokerPartition]) -> None:
        await self._consumer.assigned(self._member, sorted(assigned))


async def _stop(member: Any, limit_us: int) -> None:
    """Leave the group and disconnect, in bounded time: the library may wait much longer."""
    stopping = asyncio.ensure_future(member.stop())
    await asyncio.wait([stopping], timeout=limit_us / 1e6)
    if not stopping.done():
        # What it waits for comes over these connections, or never.
        await member._client.close()
        await asyncio.wait([stopping], timeout=1)
    if not stopping.done():
        tasks = [stopping, *_background(member)]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1)
        await member._client.close()  # They may have connected anew.
    with suppress(asyncio.CancelledError, *KAFKA_ERRORS):
        if stopping.done():
            stopping.result()


def _background(member: Any) -> "list[asyncio.Task[Any]]":
    coordinator, fetcher = member._coordinator, member._fetcher
    found: list[asyncio.Task[Any] | None] = []
    if coordinator is not None:
        found += [
            coordinator._coordination_task,
            coordinator._heartbeat_task,
            coordinator._commit_refresh_task,
        ]
    if fetcher is not None:
        found.append(fetcher._fetch_task)
    return [task for task in found if task is not None]


def _resolve(future: "asyncio.Future[None] | None") -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _pass_on(arrived: "asyncio.Future[None]", waiter: "asyncio.Future[None]") -> None:
    """Records have come, or an error that the next fetch will raise."""
    if not arrived.cancelled():
        arrived.exception()
    _resolve(waiter)


def _unreadable(member: Any, group: str, settings: KafkaSettings) -> EnvironmentNotReady:
    """The error that names the place of the record at which `member` cannot go on.

    Names of headers are text to the library; one in other bytes ends its reading, again and again,
    at that place. Such a record can neither be handled nor put aside, and must not be passed over
    in silence.

    Source: `aiokafka` 0.14, `consumer/fetcher.py`.
    """
    what, remedy = "there is a record whose headers have names that are no UTF-8", "remove it"
    for place, found in member._fetcher._records.items():
        records: Any = getattr(found, "_partition_records", None)
        reading = getattr(records, "_records_iterator", None)
        # The iterator that has raised is at its end.
        if inspect.isgenerator(reading) and inspect.getgeneratorstate(reading) == "GEN_CLOSED":
            at = records.next_fetch_offset
            what = (
                f"the record at offset {at} of topic {place.topic}, partition {place.partition} "
                "cannot be read: the name of a header is no UTF-8"
            )
            remedy = (
                "stop the group and move it on: kafka-consumer-groups --bootstrap-server "
                f"{settings.bootstrap} --group {settings.topic(group)} "
                f"--topic {place.topic}:{place.partition} --reset-offsets --to-offset {at + 1} "
                "--execute"
            )
            break
    return EnvironmentNotReady(what, server="Kafka", address=settings.bootstrap, remedy=remedy)
