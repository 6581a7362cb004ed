"""The topics of a run on a real Kafka: made, measured, read and removed.

For starting, watching and judging a run; no process that handles records needs it. It touches
only names with the run's prefix. Not here: publishing (`publisher.py`), consuming (`consumer.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.admin import ApiVersionRequest, DeleteGroupsRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition as BrokerPartition

from lab.bus.kafka.client import (
    KAFKA_ERRORS,
    KafkaSettings,
    describe,
    java_hash,
    mapped,
    to_record,
    within,
)
from lab.bus.kafka.reader import reading
from lab.bus.kafka.security import why_not
from lab.bus.kafka.topic_configs import configs_of, copies_of
from lab.domain.errors import EnvironmentNotReady, Permanent, Transient
from lab.ports.bus import Record, TopicPartition, TopicReader
from lab.resources import how_to_start

_SEEN_S: Final = 40
"""A broker that has just begun, on a busy machine, takes so long until it shows a new topic."""

_MAKE_US: Final = 30_000_000
"""Several processes make the same topics, and a broker that is busy with others takes its time."""

_SETTLED_US: Final = 60_000_000
"""A broker on a busy machine needs so long to lead what was made; nobody can join before."""

_SWEEP_S: Final = 2
"""A broker notices so late that a session is over."""

_GONE: Final = frozenset({kafka_errors.NoError.errno, kafka_errors.GroupIdNotFound.errno})
_AT_ITS_END: Final = -1
"""In the place of a time, in a request for the offset at one."""

_COMMITS: Final = "__consumer_offsets"
_FORBIDDEN: Final = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.AuthenticationFailedError,
    kafka_errors.SaslAuthenticationFailed,
)
_TOO_OLD: Final = (
    kafka_errors.UnsupportedVersionError,
    kafka_errors.IncompatibleBrokerVersion,
    kafka_errors.UnrecognizedBrokerVersion,
)
_FETCH: Final = 1
_FETCH_SINCE_4: Final = 4
"""The oldest request to fetch that Kafka 4.0 and later understand (KIP-896)."""
_DESCRIBE_CLUSTER: Final = 60
"""A request that came with Kafka 2.8."""


class KafkaTopics(TopicReader):
    """A connection for the run's topics; `async with` opens and closes it.

    Args:
        settings: see `KafkaSettings`; `connect_us` bounds each call, a read of a whole topic too,
            counted from its last record on.
        remedy: advice if the broker cannot be reached; "" for the usual.

    Raises:
        EnvironmentNotReady: on entering, if the broker is not there, too old, or does not let us
            in.
    """

    def __init__(self, settings: KafkaSettings, *, remedy: str = "") -> None:
        self._settings = settings
        self._remedy = remedy or how_to_start("kafka", "LAB_KAFKA_BOOTSTRAP")
        self._admin: Any = None

    async def __aenter__(self) -> Self:
        settings = self._settings
        if not settings.where:
            raise EnvironmentNotReady(
                "its address cannot be read",
                server="Kafka",
                address="?",
                remedy="LAB_KAFKA_BOOTSTRAP must be HOST:PORT, several separated by commas",
            )
        admin = AIOKafkaAdminClient(**settings.connection("lab-topics", settings.connect_us))
        self._admin = admin
        try:
            await within(settings.connect_us, admin.start())
            await self.version()
        except (*KAFKA_ERRORS, Transient) as error:
            await admin.close()
            cause = error.__cause__ if isinstance(error, Transient) else error
            raise await self._shut_out() or self._not_ready(cause or error) from error
        except EnvironmentNotReady:
            await admin.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._admin.close()

    # ---- made and removed

    async def create(self, partitions: Mapping[str, int]) -> Sequence[str]:
        """Make the topics that are missing; those that exist must have so many partitions.

        If none is missing, no right to make one is needed. Returns the names of the missing ones.

        Raises:
            EnvironmentNotReady: a topic has another number of partitions, or may not be made.
        """
        try:
            # Not asked one by one: a broker may make what is asked for, as it likes it.
            there = set(await self._call(self._admin.list_topics))
            brokers = len((await self._call(self._admin.describe_cluster))["brokers"])
            copies = copies_of(self._settings, brokers)
            wanted = [
                NewTopic(
                    name, count, copies, topic_configs=configs_of(self._settings, topic, copies)
                )
                for topic, count in partitions.items()
                if (name := self._settings.topic(topic)) not in there
            ]
            if wanted:
                await self._call(self._make, wanted, limit_us=_MAKE_US)
            counts = await self._seen(partitions)
        except (Transient, Permanent) as error:
            raise self._not_ready(error.__cause__ or error) from error
        self._check(counts, partitions)
        return [topic.name for topic in wanted]

    async def settle(self, topics: Iterable[str], groups: Iterable[str]) -> None:
        """Wait until the broker serves every partition and group; bounded, and then go on.

        It shows a topic before it leads its partitions, and makes its own topic of positions when
        the first group asks. Whoever joins meanwhile gets there too, over seconds of errors.
        """
        names = [self._settings.topic(topic) for topic in topics]
        of_groups = [self._settings.topic(group) for group in groups]
        with suppress(Transient, Permanent):
            await self._call(self._must_serve, names, of_groups, limit_us=_SETTLED_US)

    async def _must_serve(self, names: list[str], groups: list[str]) -> None:
        """Raise if a partition has no leader that knows it is, or a group nobody who keeps it."""
        for group in groups:
            await self._admin.find_coordinator(group)
        led: dict[int, dict[str, list[tuple[int, int]]]] = {}
        for topic in await self._admin.describe_topics(names):
            for place in topic["partitions"]:
                if place["leader"] < 0:
                    raise kafka_errors.LeaderNotAvailableError
                of_topic = led.setdefault(place["leader"], {}).setdefault(topic["topic"], [])
                of_topic.append((place["partition"], _AT_ITS_END))
        for leader, of_topics in led.items():
            request = OffsetRequest(-1, 0, list(of_topics.items()))
            answer = await self._admin._send_request(request, leader)  # noqa: SLF001 - nothing public asks a leader
            for _, places in answer.topics:
                _raise_but(None, places)

    async def delete(self) -> Sequence[str]:
        """Remove every topic and group of this run; returns the topics' names on the broker.

        A member that was killed is in its group until its session ends, which is waited for.

        Raises:
            ValueError: the run has no prefix, so nothing is known to be its own.
            Transient: the broker was not reached, or a group still has a member; then the topics
                are gone all the same.
        """
        stem = self._settings.stem
        if not stem:
            raise ValueError("a run without a prefix owns no topics: delete them by name")
        groups = [name for name, *_ in await self._call(self._admin.list_consumer_groups)]
        gone = await asyncio.gather(*[self._forget(one) for one in groups if one.startswith(stem)])
        own = sorted(n for n in await self._call(self._admin.list_topics) if n.startswith(stem))
        if own:
            await self._call(self._remove, own, limit_us=_MAKE_US)
        if not all(gone):
            raise Transient(f"topics {stem}* are gone, and one of these groups still has a member")
        return own

    async def _forget(self, group: str) -> bool:
        """Remove a group; False if somebody is in it for longer than a member can be silent."""
        clock = asyncio.get_running_loop()
        end = clock.time() + self._settings.session_us / 1e6 + _SWEEP_S
        request = DeleteGroupsRequest([group])
        while True:
            node = await self._call(self._admin.find_coordinator, group)
            response = await self._call(self._admin._send_request, request, node)  # noqa: SLF001 - groups cannot be deleted otherwise
            codes = {code for _, code in response.results}
            # Anything else is asked again: it has a member, or its coordinator is busy or moves.
            if (is_gone := codes <= _GONE) or clock.time() >= end:
                return is_gone
            await asyncio.sleep(0.2)

    # ---- measured

    async def version(self) -> str:
        """The broker's version, as far as its protocol shows it: it does not say.

        Raises:
            EnvironmentNotReady: it is too old.
            Transient: the broker was not reached.
        """
        response = await self._call(self._admin._send_request, ApiVersionRequest())  # noqa: SLF001 - nothing public asks for it
        spoken = {key: least for key, least, _ in response.api_versions}
        if _DESCRIBE_CLUSTER not in spoken:
            raise self._not_ready(kafka_errors.UnsupportedVersionError())
        return "4.0 or newer" if spoken[_FETCH] >= _FETCH_SINCE_4 else "2.8 to 3.9"

    async def ends(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """End offset of each partition.

        Raises:
            Transient: the broker was not reached, or there is no such topic.
        """
        places = await self._places(topics)
        async with reading(self._settings, places) as reader:
            ends = await self._call(reader.end_offsets, places)
        return {self._settings.own(place): ends[place] for place in places}

    async def committed(self, group: str) -> dict[TopicPartition, int]:
        """The group's committed offsets; a partition without one is missing.

        Raises:
            Transient: the broker was not reached.
        """
        name = self._settings.topic(group)
        found = await self._call(self._admin.list_consumer_group_offsets, name)
        own = self._settings.own
        return {own(place): at.offset for place, at in found.items() if at.offset >= 0}

    async def lag(self, group: str, topics: Iterable[str]) -> int:
        """Records of the topics that the group has not committed.

        Raises:
            Transient: the broker was not reached, or there is no such topic.
        """
        committed = await self.committed(group)
        ends = await self.ends(topics)
        return sum(end - committed.get(place, 0) for place, end in ends.items())

    async def read(self, *topics: str) -> list[Record]:
        """Whole topics, partition by partition in offset order, up to their ends at this moment.

        Raises:
            Transient: the broker was not reached, or there is no such topic.
        """
        places = await self._places(topics)
        async with reading(self._settings, places) as reader:
            found = await self._read_from(reader, await self._call(_beginnings, reader, places))
        return [to_record(record, self._settings) for place in found for record in found[place]]

    async def read_commits(
        self, group: str, *, since_us: int
    ) -> list[tuple[int, bytes, bytes | None]]:
        """The broker's notes on the group and on others beside it, oldest first.

        Returns:
            The records of the broker's own topic in the partition that the group's commits go to:
            (wall clock in microseconds, key, value).

        Raises:
            Transient: the broker was not reached, or does not let us read that topic.
        """
        described = await self._call(self._admin.describe_topics, [_COMMITS])
        count = len(described[0]["partitions"])
        if not count:
            return []  # Nobody has ever committed anything.
        place = BrokerPartition(_COMMITS, java_hash(self._settings.topic(group)) % count)
        async with reading(self._settings, [place]) as reader:
            found = await self._call(reader.offsets_for_times, {place: since_us // 1000})
            start = found[place]
            if start is None:
                return []
            records = await self._read_from(reader, {place: start.offset})
        return [(r.timestamp * 1000, r.key or b"", r.value) for r in records[place]]

    # ----

    async def _read_from(
        self, reader: Any, starts: Mapping[BrokerPartition, int]
    ) -> dict[BrokerPartition, list[Any]]:
        """All records of some partitions, from an offset of each up to its end at this moment."""
        ends = await self._call(reader.end_offsets, list(starts))
        found: dict[BrokerPartition, list[Any]] = {place: [] for place in starts}
        left = [place for place in starts if starts[place] < ends[place]]
        reader.assign(left)
        for place in left:
            reader.seek(place, starts[place])
        for place in left:
            while await self._call(reader.position, place) < ends[place]:
                batches = await self._call(self._some, reader, place)
                for of, batch in batches.items():
                    found[of] += [record for record in batch if record.offset < ends[of]]
        return found

    async def _some(self, reader: Any, place: BrokerPartition) -> Any:
        """The next records; none if only a mark of a transaction stood there."""
        before = await reader.position(place)
        while True:
            batches = await reader.getmany(timeout_ms=200)
            if batches or await reader.position(place) != before:
                return batches

    async def _make(self, wanted: Sequence[NewTopic]) -> None:
        """Make those that another process has not made meanwhile."""
        response = await self._admin.create_topics(wanted)
        _raise_but(kafka_errors.TopicAlreadyExistsError, response.topic_errors)

    async def _remove(self, names: Sequence[str]) -> None:
        """Remove those that nobody else has removed meanwhile; raise until none is to be seen."""
        response = await self._admin.delete_topics(list(names))
        _raise_but(kafka_errors.UnknownTopicOrPartitionError, response.topic_error_codes)
        if set(names) & set(await self._admin.list_topics()):
            raise kafka_errors.RequestTimedOutError

    async def _seen(self, partitions: Mapping[str, int]) -> dict[str, int]:
        """Partitions of each topic, 0 if it is not there; one just made takes a moment to be."""
        clock = asyncio.get_running_loop()
        end = clock.time() + _SEEN_S
        while True:
            counts = await self._counts(partitions)
            if all(counts.values()) or clock.time() >= end:
                return counts
            await asyncio.sleep(0.02)

    def _check(self, counts: Mapping[str, int], partitions: Mapping[str, int]) -> None:
        for topic, count in counts.items():
            if count != partitions[topic]:
                name = self._settings.topic(topic)
                what = f"topic {name} has {count} partitions, not {partitions[topic]}"
                remedy = "delete the topic, or run with the number of partitions that it has"
                if not count:
                    what = f"topic {name} was made, and is not to be seen after {_SEEN_S} s"
                    remedy = "look at the load of this machine, and into the broker's log"
                raise EnvironmentNotReady(
                    what, server="Kafka", address=self._settings.bootstrap, remedy=remedy
                )

    async def _counts(self, topics: Iterable[str]) -> dict[str, int]:
        names = {self._settings.topic(topic): topic for topic in topics}
        described = await self._call(self._admin.describe_topics, list(names))
        return {names[topic["topic"]]: len(topic["partitions"]) for topic in described}

    async def _places(self, topics: Iterable[str]) -> list[BrokerPartition]:
        names = [self._settings.topic(topic) for topic in topics]
        described = await self._call(self._admin.describe_topics, names)
        places = []
        for topic in described:
            if topic["error_code"]:
                raise Transient(f"there is no topic {topic['topic']!r} on the broker")
            places += [BrokerPartition(topic["topic"], p["partition"]) for p in topic["partitions"]]
        return sorted(places)

    async def _call(
        self, call: Callable[..., Awaitable[Any]], *args: Any, limit_us: int = 0
    ) -> Any:
        """Call the library; a broker that has just started is asked again.

        Args:
            call: the call.
            args: its arguments.
            limit_us: longest wait, if that is more than `connect_us`.
        """
        clock = asyncio.get_running_loop()
        end = clock.time() + max(limit_us, self._settings.connect_us) / 1e6
        while True:
            left_us = round((end - clock.time()) * 1e6)
            try:
                return await within(max(left_us, 1), call(*args))
            except KAFKA_ERRORS as error:
                if not getattr(error, "retriable", False) or clock.time() >= end:
                    raise mapped(error, "topics") from error
            await asyncio.sleep(0.1)

    async def _shut_out(self) -> EnvironmentNotReady | None:
        """What keeps us out of the first broker that listens, if anything; in bounded time."""
        with suppress(TimeoutError):
            return await within(self._settings.connect_us, self._ask_each())
        return None

    async def _ask_each(self) -> EnvironmentNotReady | None:
        settings = self._settings
        arguments = settings.connection("lab-topics", settings.connect_us)
        for name in ("bootstrap_servers", "retry_backoff_ms", "metadata_max_age_ms"):
            del arguments[name]
        for broker in settings.bootstrap.split(","):
            host, _, port = broker.strip().rpartition(":")
            found = await why_not(host.strip("[]"), int(port), arguments)
            if found is not None:
                what, remedy = found
                address = settings.bootstrap
                return EnvironmentNotReady(what, server="Kafka", address=address, remedy=remedy)
        return None

    def _not_ready(self, error: BaseException) -> EnvironmentNotReady:
        if isinstance(error, _FORBIDDEN):
            what, remedy = "access is denied", "let this user make, read and write its topics"
        elif isinstance(error, _TOO_OLD):
            what, remedy = "its version is too old", "run Apache Kafka 2.8 or newer"
        elif isinstance(error, (OSError, TimeoutError)) or getattr(error, "retriable", False):
            what, remedy = "it cannot be reached", self._remedy
        else:
            what, remedy = f"it refuses: {describe(error)}", "see the broker's log"
        return EnvironmentNotReady(
            what, server="Kafka", address=self._settings.bootstrap, remedy=remedy
        )


def _raise_but(expected: type[BaseException] | None, outcomes: Iterable[Sequence[Any]]) -> None:
    """Raise the first error that the broker tells of a topic, unless it is the expected one."""
    for name, code, *_ in outcomes:
        error = kafka_errors.for_code(code)
        if code and error is not expected:
            raise error(name)


async def _beginnings(reader: Any, places: list[BrokerPartition]) -> dict[BrokerPartition, int]:
    """The first offset of each partition."""
    found: dict[BrokerPartition, int] = await reader.beginning_offsets(places)
    return {place: found[place] for place in places}
