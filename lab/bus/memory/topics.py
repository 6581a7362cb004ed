"""The memory log's records: topics, their partitions, and a reader's view of them.

A partition is made with its first record: most of a run's hundreds are never written to.

Not here: consumer groups (`groups.py`), and the facts that records leave (`lab.bus.facts`).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from lab.ports.bus import Outgoing, Record, TopicPartition


@lru_cache(maxsize=1_024)
def all_partitions(topic: str, count: int) -> tuple[TopicPartition, ...]:
    """The partitions of a topic of that many: the same ones in every run."""
    return tuple(TopicPartition(topic, number) for number in range(count))


class Reader(Protocol):
    """A reader that waits at the end of a partition."""

    def appended(self) -> None:
        """There is a record at the end that was not there before."""
        ...

    def leader_changed(self) -> None:
        """Nobody leads the partition any more, or somebody does again."""
        ...


class PartitionLog:
    """One partition: records from `base` on; those below were trimmed.

    Attributes:
        is_led: it can be read: some broker leads it.
    """

    __slots__ = ("base", "is_led", "partition", "readers", "records")

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.base = 0
        self.is_led = True
        self.records: list[Record] = []
        self.readers: list[Reader] = []

    @property
    def end(self) -> int:
        """The offset that the next record will have."""
        return self.base + len(self.records)

    def append(self, outgoing: Outgoing, timestamp_us: int) -> Record:
        """Add a record and wake the readers that wait for it."""
        topic, partition = self.partition
        records = self.records
        record = Record(
            topic,
            partition,
            self.base + len(records),
            outgoing.key,
            outgoing.value,
            outgoing.headers,
            timestamp_us,
        )
        records.append(record)
        for reader in self.readers:
            reader.appended()
        return record

    def read(self, offset: int, limit: int) -> Sequence[Record]:
        """At most `limit` records from `offset` on, or from the first that is left."""
        start = max(offset - self.base, 0)
        return self.records[start : start + limit]

    def trim(self, offset: int) -> None:
        """Forget the records below `offset`."""
        del self.records[: offset - self.base]
        self.base = offset


class Owner(Protocol):
    """A consumer that owns partitions of a topic, of which some may hold nothing yet."""

    def opened(self, log: PartitionLog) -> None:
        """A partition of the topic is about to get its first record; it may be another's."""
        ...


class Topic:
    """One topic.

    Attributes:
        partitions: all of them.
        logs: by number, those that a record was ever appended to.
        owners: are told of the logs that come; in the order in which they took over.
    """

    __slots__ = ("logs", "owners", "partitions")

    def __init__(self, name: str, count: int) -> None:
        self.partitions = all_partitions(name, count)
        self.logs: dict[int, PartitionLog] = {}
        self.owners: list[Owner] = []

    def log(self, number: int) -> PartitionLog:
        """The records of a partition, to append to."""
        log = self.logs.get(number)
        if log is None:
            log = self.logs[number] = PartitionLog(self.partitions[number])
            for owner in self.owners:
                owner.opened(log)
        return log

    def in_order(self) -> list[PartitionLog]:
        """The logs by number."""
        return [self.logs[number] for number in sorted(self.logs)]
