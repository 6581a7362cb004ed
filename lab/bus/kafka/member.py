"""One member of a group, as the client library has it, and every private door into the library.

Where the library has no public way a private one is taken, here and nowhere else in the consumer:
the generation, one commit without its endless retries, one heartbeat, the signal that records have
come, its background tasks, all committed offsets at once, the place of a record that it cannot
hand out, the error that it keeps to itself.
Not here: the promises of the port, which are kept by these means (`consumer.py`).

Source: `aiokafka` 0.14, `aiokafka/consumer/group_coordinator.py`, `aiokafka/consumer/fetcher.py`.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import errors as kafka_errors
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as BrokerPartition

from lab.bus.kafka.client import (
    BATCH_BYTES_MAX,
    KAFKA_ERRORS,
    KafkaSettings,
    describe,
    to_record,
    within,
)
from lab.bus.turns import Turns
from lab.domain.errors import EnvironmentNotReady, Fenced
from lab.ports.bus import Record, TopicPartition, is_main_topic

# A fetch that waits on the broker delays the next request on the same connection.
_FETCH_WAIT_MS: Final = 100
_FETCH_BYTES: Final = 16 * 1024 * 1024
_NEVER_MS: Final = 2**31 - 1

OnRevoked = Callable[["GroupMember"], Awaitable[None]]
OnAssigned = Callable[["GroupMember", Sequence[BrokerPartition]], Awaitable[None]]


OUT_OF_RANGE: Final = (
    kafka_errors.OffsetOutOfRangeError,
    kafka_errors.NoOffsetForPartitionError,
)
"""The log does not hold the position of a partition any more, or nobody has set one."""


class Lost(NamedTuple):
    """Offsets that a group has not committed and can never read: the log begins behind them.

    If `end` is not above `start`, the log was made anew or cut at its end.
    """

    place: BrokerPartition
    start: int
    end: int


class GroupMember:
    """One membership, from its start to its stop; it is never taken up again.

    Args:
        settings: see `KafkaSettings`.
        group: the group, without the run's prefix.
        process: names the member.
    """

    def __init__(self, settings: KafkaSettings, group: str, process: str) -> None:
        self._settings = settings
        self._group = group
        self._turns = Turns()
        self._client: Any = AIOKafkaConsumer(
            # An answer to a join comes when all others have given up.
            **settings.connection(process, settings.rebalance_us + 5_000_000),
            group_id=settings.topic(group),
            session_timeout_ms=settings.session_us // 1000,
            rebalance_timeout_ms=settings.rebalance_us // 1000,
            heartbeat_interval_ms=settings.heartbeat_us // 1000,
            enable_auto_commit=False,
            # Positions are set by `starts`: the library would jump over a loss without a word.
            auto_offset_reset="none",
            # A record of a transaction that was given up is none.
            isolation_level="read_committed",
            # With more than one the library joins once for each.
            partition_assignment_strategy=(RangePartitionAssignor,),
            # A member that does not poll because everything is paused is no less alive.
            max_poll_interval_ms=_NEVER_MS,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            fetch_max_bytes=_FETCH_BYTES,
            max_partition_fetch_bytes=BATCH_BYTES_MAX,
        )

    # ---- in the group

    async def connect(self) -> None:
        """Reach the broker.

        Raises:
            one of `KAFKA_ERRORS`: it was not reached in time.
        """
        await within(self._settings.connect_us, self._client.start())

    def subscribe(
        self, topics: Sequence[str], *, on_revoked: OnRevoked, on_assigned: OnAssigned
    ) -> None:
        """Join for these topics; from then on the group's changes are handed on, one at a time."""
        names = [self._settings.topic(topic) for topic in topics]
        listener = _Rebalances(self, on_revoked, on_assigned)
        self._client.subscribe(names, listener=listener)

    @property
    def generation(self) -> int:
        """The group's generation, as far as this member has heard."""
        return int(self._client._coordinator.generation)

    @property
    def owned(self) -> Collection[BrokerPartition]:
        """The partitions that are this member's."""
        assigned: Collection[BrokerPartition] = self._client.assignment()
        return assigned

    def check(self) -> None:
        """Hear of the error after which the library waits until somebody has heard of it.

        Raises:
            one of `KAFKA_ERRORS`: the group does not take this member.
        """
        self._client._coordinator.check_errors()

    @property
    def is_lost(self) -> bool:
        """Whether the library has given its coordination up: it never takes it up again."""
        return bool(self._client._coordinator._coordination_task.done())

    @property
    def knows_its_broker(self) -> bool:
        """Whether the broker that keeps the group is known; it is forgotten when it is lost."""
        return self._client._coordinator.coordinator_id is not None

    def rejoin(self) -> None:
        """Have the group assign once more."""
        self._client._coordinator.request_rejoin()

    async def is_in_group(self) -> bool:
        """Ask the group. If the answer is no, the library joins anew by itself.

        Raises:
            one of `KAFKA_ERRORS`: there was no answer in time.
        """
        beat = self._client._coordinator._do_heartbeat()
        return bool(await within(self._settings.commit_us, beat))

    # ---- positions

    async def starts(
        self, partitions: Sequence[BrokerPartition], *, at_the_end: bool
    ) -> tuple[Mapping[BrokerPartition, int], Sequence[Lost]]:
        """End of each partition, and what its group can never read; positions are set.

        A group starts where it has committed; where it has committed nothing at the begin of the
        log, or at its end; where the log does not hold its position any more at the begin.

        Raises:
            one of `KAFKA_ERRORS`: the broker did not say in time.
        """
        if not partitions:
            return {}, ()
        call = self._starts(partitions, at_the_end=at_the_end)
        return await within(self._settings.connect_us, call)

    async def _starts(
        self, partitions: Sequence[BrokerPartition], *, at_the_end: bool
    ) -> tuple[Mapping[BrokerPartition, int], Sequence[Lost]]:
        client = self._client
        ends: dict[BrokerPartition, int] = await client.end_offsets(partitions)
        begins: dict[BrokerPartition, int] = await client.beginning_offsets(partitions)
        committed = await client._coordinator.fetch_committed_offsets(partitions)
        lost: list[Lost] = []
        for place in partitions:
            at = committed[place].offset if place in committed else -1
            if at < 0:
                client.seek(place, ends[place] if at_the_end else begins[place])
            elif not begins[place] <= at <= ends[place]:
                lost.append(Lost(place, at, begins[place]))
                client.seek(place, begins[place])
        return {place: ends[place] for place in partitions}, lost

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:
        """Commit under `epoch`, once.

        Raises:
            Fenced: the group is at another generation.
            one of `KAFKA_ERRORS`: see there.
        """
        name = self._settings.partition
        # The broker keeps positions and no epochs: a reader of its notes needs both.
        note = str(epoch)
        positions = {name(place): OffsetAndMetadata(at, note) for place, at in offsets.items()}
        await within(self._settings.commit_us, self._commit(positions, epoch))

    async def _commit(
        self, positions: Mapping[BrokerPartition, OffsetAndMetadata], epoch: int
    ) -> None:
        coordinator = self._client._coordinator
        await coordinator.ensure_coordinator_known()
        # The library's own `commit` retries under the generation that is there by then, so that an
        # old position would be accepted as one of the new owner.
        if coordinator.generation != epoch:
            raise fenced(self._group, epoch, coordinator.generation)
        await coordinator._do_commit_offsets(None, positions)

    # ---- records

    async def fetched(self, max_records: int) -> list[Record]:
        """The records at hand in the library. It never waits: a cancelled wait of its would leak.

        Raises:
            one of `KAFKA_ERRORS`: the member cannot go on; of `OUT_OF_RANGE`: `starts` would.
            EnvironmentNotReady: a record cannot be read; the message says where it is.
        """
        settings = self._settings
        getmany = self._client.getmany
        retries = self._retries()
        batches: Mapping[BrokerPartition, Sequence[Any]] = {}
        try:
            # The library empties one buffer after the other, and that of a main partition may hold
            # thousands of records: those of a retry topic would wait behind them all.
            if retries and self._turns.retries_first():
                batches = await getmany(*retries, timeout_ms=0, max_records=max_records)
            # Never a second call after one that found something: its error would lose that.
            if not batches:
                batches = await getmany(timeout_ms=0, max_records=max_records)
        except Exception as error:
            # A damaged batch makes the library, and what it unpacks with, raise whatever they like.
            place = self._broken_off()
            if place is None:
                raise
            raise self._unreadable(*place, error) from error
        self._to_the_end_of_the_line(batches)
        return [to_record(found, settings) for batch in batches.values() for found in batch]

    def _to_the_end_of_the_line(self, served: Iterable[BrokerPartition]) -> None:
        """The library begins with what it fetched first: one full partition would starve others."""
        buffered = self._client._fetcher._records
        for place in served:
            if place in buffered:
                buffered[place] = buffered.pop(place)

    def _retries(self) -> list[BrokerPartition]:
        """The partitions of retry topics of which the library has records at hand."""
        own = self._settings.own
        buffered = self._client._fetcher._records
        return [place for place in buffered if not is_main_topic(own(place).topic)]

    def records_come(self) -> "asyncio.Future[None]":
        """Done when there are records, or an error that the next fetch will raise."""
        arrival: asyncio.Future[None] = self._client._fetcher._create_fetch_waiter()
        return arrival

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Fetch nothing of these partitions, as far as they are owned."""
        self._client.pause(*self._mine(partitions))

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Fetch them again, as far as they are owned."""
        self._client.resume(*self._mine(partitions))

    def _mine(self, partitions: Sequence[TopicPartition]) -> list[BrokerPartition]:
        owned = self.owned
        return [place for place in map(self._settings.partition, partitions) if place in owned]

    def _broken_off(self) -> tuple[BrokerPartition, int] | None:
        """The place at which an error has ended the reading of fetched records, if one has."""
        for place, found in self._client._fetcher._records.items():
            records: Any = getattr(found, "_partition_records", None)
            reading = getattr(records, "_records_iterator", None)
            # The iterator that has raised is at its end.
            if inspect.isgenerator(reading) and inspect.getgeneratorstate(reading) == "GEN_CLOSED":
                return place, records.next_fetch_offset
        return None

    def _unreadable(self, place: BrokerPartition, at: int, error: Exception) -> EnvironmentNotReady:
        """The error that names the place of the record at which this member cannot go on.

        Such a record can neither be handled nor put aside, and must not be passed over in silence.
        """
        settings = self._settings
        remedy = (
            "stop the group and move it on: kafka-consumer-groups --bootstrap-server "
            f"{settings.bootstrap} --group {settings.topic(self._group)} "
            f"--topic {place.topic}:{place.partition} --reset-offsets --to-offset {at + 1} "
            "--execute"
        )
        match error:
            case UnicodeDecodeError():
                why = "the name of a header is no UTF-8"
            case kafka_errors.UnsupportedCodecError():
                why, remedy = f"its codec is missing here ({describe(error)})", "install cramjam"
            case _:
                why = f"its batch is damaged ({describe(error)})"
        what = (
            f"the record at offset {at} of topic {place.topic}, partition {place.partition} "
            f"cannot be read: {why}"
        )
        return EnvironmentNotReady(what, server="Kafka", address=settings.bootstrap, remedy=remedy)

    # ---- its end

    async def stop(self) -> None:
        """Leave the group and disconnect, in bounded time: the library may wait much longer."""
        client = self._client
        stopping = asyncio.ensure_future(client.stop())
        await asyncio.wait([stopping], timeout=self._settings.leave_us / 1e6)
        if not stopping.done():
            # The answer that it waits for comes over these connections, or never.
            await client._client.close()
            await asyncio.wait([stopping], timeout=1)
        if not stopping.done():
            tasks = [stopping, *self._background()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)
            await client._client.close()  # They may have connected anew.
        with suppress(asyncio.CancelledError, *KAFKA_ERRORS):
            if stopping.done():
                stopping.result()

    def _background(self) -> "list[asyncio.Task[Any]]":
        coordinator, fetcher = self._client._coordinator, self._client._fetcher
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


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    """Hands the library's calls on, with the member that they are about."""

    def __init__(self, member: GroupMember, on_revoked: OnRevoked, on_assigned: OnAssigned) -> None:
        self._member = member
        self._on_revoked = on_revoked
        self._on_assigned = on_assigned

    async def on_partitions_revoked(self, _revoked: Collection[BrokerPartition]) -> None:
        await self._on_revoked(self._member)

    async def on_partitions_assigned(self, assigned: Collection[BrokerPartition]) -> None:
        await self._on_assigned(self._member, sorted(assigned))


def fenced(group: str, epoch: int, present: int) -> Fenced:
    """The error for a commit of an epoch that is over."""
    return Fenced(f"group {group}: a commit of epoch {epoch}, now is {present}")
