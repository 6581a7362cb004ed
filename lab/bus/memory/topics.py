"""The memory log's records: partitions, and a reader's view of them.

Not here: consumer groups (`groups.py`), and the facts that records leave (`lab.bus.facts`).
"""

from collections.abc import Sequence
from typing import Protocol

from lab.ports.bus import Outgoing, Record, TopicPartition


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
