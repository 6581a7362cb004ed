"""The log in memory: a Kafka broker's topics and consumer groups, and the clients that talk to it.

It belongs to nobody's process: records and commits survive every kill. It leaves the
facts `appended` and `committed`. Memory is bounded: records that every declared group of a topic
has committed are trimmed; topics that no group was declared for (dead-letter queues) stay whole.

Not here: the records (`topics.py`), the groups (`groups.py`), a member's own side (`consumer.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from lab.bus.facts import appended_fact, letter_fact
from lab.bus.memory.cluster import Cluster
from lab.bus.memory.consumer import MemoryConsumer, suspend
from lab.bus.memory.groups import Assignor, Group, MemoryMember, SimLoop
from lab.bus.memory.publisher import MemoryPublisher
from lab.bus.memory.topics import PartitionLog, Topic
from lab.domain.errors import Fenced, Permanent, TooLarge, Transient
from lab.domain.partitioner import partition_of
from lab.history.recorder import Write
from lab.ports.bus import (
    Outgoing,
    Publisher,
    Record,
    TopicPartition,
    TopicReader,
    Unread,
    record_bytes,
    record_limit,
)

_TRIM_CHUNK: Final = 512

_COMMITS: Final = "__consumer_offsets"


class MemoryLog:
    """A broker in memory.

    Args:
        root: loop of the harness, on which sessions and rebalances time out.
        session_us: a silent member is expelled after this.
        rebalance_us: a member that gives nothing up for this long is expelled.
        write: takes the facts, or None.
        epoch_us: wall time at `root`'s time 0, for the records' timestamps.
        assignor: how partitions are shared out.
        copies, min_insync: see `Cluster`.

    Attributes:
        is_down: every call of every client raises Transient until it is set back.
    """

    def __init__(
        self,
        root: SimLoop,
        *,
        session_us: int,
        rebalance_us: int,
        write: Write | None = None,
        epoch_us: int = 0,
        assignor: Assignor = "range",
        copies: int = 0,
        min_insync: int = 0,
    ) -> None:
        self.is_down = False
        self._root = root
        self._session_us = session_us
        self._rebalance_us = rebalance_us
        self._write = write
        self._epoch_us = epoch_us
        self._assignor: Final = assignor
        # Until a broker is lost all are there, and nobody asks.
        self._cluster: Cluster | None = None
        self._copies = copies, min_insync
        self._publishers: list[MemoryPublisher] = []
        self._topics: dict[str, Topic] = {}
        self._groups: dict[str, Group] = {}
        self._declared: dict[str, list[Group]] = {}
        self._reads: dict[str, dict[str, None]] = {}
        self._consumers: list[MemoryConsumer] = []
        # A run that waits for something else asks for it again and again.
        self._lags: dict[str, int] = {}

    # ---- set-up

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Make topics with so many partitions each; a topic that exists is left as it is."""
        for topic, count in partitions.items():
            if topic not in self._topics:
                self._topics[topic] = Topic(topic, count)

    def declare_group(self, group: str, topics: Sequence[str]) -> None:
        """`group` reads `topics`: records that it has not committed are kept."""
        self._lags.clear()
        reads, found = self._reads.setdefault(group, {}), self._group(group)
        for topic in topics:
            if topic not in reads:
                reads[topic] = None
                self._declared.setdefault(topic, []).append(found)

    def publisher(self, loop: SimLoop) -> Publisher:
        """A producer of the process of `loop`."""
        publisher = MemoryPublisher(self, loop)
        self._publishers = [other for other in self._publishers if not other.loop.dead]
        self._publishers.append(publisher)
        return publisher

    def consumer(self, group: str, member: str, loop: SimLoop, unread: Unread) -> MemoryConsumer:
        """A consumer of the process of `loop`; no member before `join`.

        Members are ordered by the name `member` when partitions are shared out.
        """
        consumer = MemoryConsumer(self, self._group(group), member, loop, unread)
        self._consumers = [other for other in self._consumers if not other.loop.dead]
        self._consumers.append(consumer)
        return consumer

    def reader(self) -> TopicReader:
        """An onlooker's way to whole topics, as far as nothing of them was trimmed."""
        return MemoryReader(self)

    def silent(self, loop: SimLoop) -> None:
        """The process of `loop` was paused: no heartbeats. A kill is noticed without this call."""
        for consumer in self._consumers:
            if consumer.loop is loop:
                consumer.silent()

    def heard(self, loop: SimLoop) -> None:
        """The process of `loop` was resumed."""
        for consumer in self._consumers:
            if consumer.loop is loop:
                consumer.heard()

    def begin_outage(self) -> None:
        """From now on nobody reaches the broker. Records, groups and offsets stay."""
        self.is_down = True

    def end_outage(self) -> None:
        """It can be reached again; clients come back by themselves."""
        self.is_down = False
        if self._cluster is not None:
            self._brokers_changed()

    def lose_broker(self, broker: int, *, elects_us: int) -> None:
        """One broker is gone, from 1; see `Cluster`. Clients find the new leaders by themselves."""
        if self._cluster is None:
            copies, min_insync = self._copies
            self._cluster = Cluster(
                self._root, copies=copies, min_insync=min_insync, changed=self._brokers_changed
            )
        self._cluster.lose(broker, elects_us=elects_us)
        self._brokers_changed()

    def regain_broker(self, broker: int) -> None:
        """It is there again, with all that it had."""
        assert self._cluster is not None, "it was lost"
        self._cluster.regain(broker)

    def close(self) -> None:
        """Let go of everything; buried processes may hold this object for ever."""
        for topic in self._topics.values():
            topic.owners.clear()
            for log in topic.logs.values():
                log.records.clear()
                log.readers.clear()
        self._topics.clear()
        self._groups.clear()
        self._declared.clear()
        self._reads.clear()
        self._consumers.clear()
        self._publishers.clear()

    # ---- for tests, the runner and checks: no call, no suspension

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """The group's committed offsets; a partition without one is missing."""
        return dict(self._group(group).committed)

    def generation(self, group: str) -> int:
        """The group's present generation, 0 before the first."""
        return self._group(group).generation

    def members(self, group: str) -> Sequence[str]:
        """Names of the group's members."""
        return self._group(group).members

    def ends(self, topic: str) -> list[int]:
        """End offset of each partition of a topic."""
        found = self._topics[topic]
        logs = map(found.logs.get, range(len(found.partitions)))
        return [0 if log is None else log.end for log in logs]

    def lag(self, group: str) -> int:
        """Records of the group's declared topics that it has not committed."""
        if group in self._lags:
            return self._lags[group]
        committed = self._group(group).committed
        # A position past the end makes no other's lag any smaller.
        lag = self._lags[group] = sum(
            max(log.end - committed.get(log.partition, 0), 0)
            for topic in self._reads.get(group, ())
            for log in self._topics[topic].logs.values()
        )
        return lag

    def records(self, topic: str) -> list[Record]:
        """The rest of a topic, partition by partition in offset order."""
        return [record for log in self._topics[topic].in_order() for record in log.records]

    # ---- as publishers and consumers see it

    def reached(self) -> None:
        """See `Broker`."""
        if self.is_down:
            raise Transient("the broker cannot be reached")

    def coordinated(self, group: Group) -> None:
        """See `Broker`."""
        cluster = self._cluster
        if cluster is not None and not cluster.appends(TopicPartition(_COMMITS, group.number)):
            raise Transient(f"no broker coordinates the group {group.name}")

    def takes(self, record: Outgoing) -> bool:
        """Whether the record can be appended now."""
        cluster = self._cluster
        if cluster is None:
            return True
        return not self.is_down and cluster.appends(self.place_of(record))

    def place_of(self, record: Outgoing) -> TopicPartition:
        """The partition that a record belongs to."""
        partitions = self._topics[record.topic].partitions
        return partitions[partition_of(record.key, len(partitions))]

    def topic(self, name: str) -> Topic:
        """See `Broker`."""
        return self._topics[name]

    def append(self, records: Sequence[Outgoing]) -> None:
        """Append all, or none if one is refused.

        Raises:
            TooLarge: a record exceeds its topic's limit.
            Permanent: a topic does not exist.
        """
        self.check(records)
        self._lags.clear()
        now_us = self._root.now_us()
        timestamp_us = self._epoch_us + now_us
        for outgoing in records:
            topic = self._topics[outgoing.topic]
            number = partition_of(outgoing.key, len(topic.partitions))
            record = topic.log(number).append(outgoing, timestamp_us)
            if self._write is not None:
                self._write(appended_fact(record, now_us))
                letter = letter_fact(record, now_us)
                if letter is not None:
                    self._write(letter)

    def commit(
        self,
        group: Group,
        member: MemoryMember | None,
        offsets: Mapping[TopicPartition, int],
        epoch: int,
    ) -> None:
        """See `Broker`."""
        try:
            group.check_commit(member, epoch)
        except Fenced:
            self._note_commit(group, offsets, epoch, accepted=False)
            raise
        self._note_commit(group, offsets, epoch, accepted=True)
        self._lags.clear()
        for partition, offset in offsets.items():
            group.committed[partition] = offset
            log = self._topics[partition.topic].logs.get(partition.partition)
            if log is not None:
                self._trim(log, offset)

    def check(self, records: Sequence[Outgoing]) -> None:
        """Raises TooLarge or Permanent if one of them cannot be appended; see `append`."""
        for outgoing in records:
            if outgoing.topic not in self._topics:
                raise Permanent(f"there is no topic {outgoing.topic!r}")
            size = record_bytes(outgoing)
            if size > record_limit(outgoing.topic):
                limit = record_limit(outgoing.topic)
                raise TooLarge(f"a record of {size} bytes; {outgoing.topic} takes {limit}")

    def _brokers_changed(self) -> None:
        """Somebody leads who did not, or the other way round."""
        cluster = self._cluster
        assert cluster is not None, "it has changed"
        for topic in self._topics.values():
            for log in topic.in_order():
                is_led = cluster.leads(log.partition)
                if is_led is not log.is_led:
                    log.is_led = is_led
                    for reader in log.readers:
                        reader.leader_changed()
        for publisher in self._publishers:
            publisher.send_on()

    def _note_commit(
        self, group: Group, offsets: Mapping[TopicPartition, int], epoch: int, *, accepted: bool
    ) -> None:
        if self._write is None:
            return
        now_us = self._root.now_us()
        for (topic, partition), offset in offsets.items():
            self._write(
                (
                    "committed",
                    now_us,
                    "bus",
                    "",
                    group.name,
                    topic,
                    partition,
                    offset,
                    epoch,
                    accepted,
                )
            )

    def _trim(self, log: PartitionLog, offset: int) -> None:
        if offset - log.base < _TRIM_CHUNK:
            return
        groups = self._declared.get(log.partition.topic, ())
        low = min((group.committed.get(log.partition, 0) for group in groups), default=0)
        if low - log.base >= _TRIM_CHUNK:
            log.trim(min(low, log.end))

    def _group(self, name: str) -> Group:
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(
                name,
                number=len(self._groups),
                root=self._root,
                partitions_of=lambda topic: len(self._topics[topic].partitions),
                session_us=self._session_us,
                rebalance_us=self._rebalance_us,
                assignor=self._assignor,
            )
        return group


class MemoryReader(TopicReader):
    """An onlooker."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def read(self, *topics: str) -> Sequence[Record]:
        await suspend()
        self._log.reached()
        return [record for topic in topics for record in self._log.records(topic)]
