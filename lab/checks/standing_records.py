"""The records that stand in one partition, as the bus tells, and the deliveries that showed others.

A delivery and the fact that its record was appended may come in either order, so each waits for the
other. A record is remembered until every group that reads it has committed a position past it: the
memory is the lag of the slowest group, and the records that are delivered later still are not
compared. Of dead letters, which no group reads, only the offsets count. Not here: the groups'
positions (`partition_track`), and the promises.
"""

from lab.checks.tables import readers_of
from lab.history.calls import DeliverEntry
from lab.history.entries import Entry
from lab.history.facts import AppendedEntry


class StandingRecords:
    """One partition.

    Attributes:
        end: the offset after the last record.
        digests: of the records that may be delivered yet, by offset.
        low: the records below were passed by every group that reads the topic; all of them stand.
        twice: records appended at an offset at which another one stood.
        differing: deliveries that showed another record than the one that stands there.
    """

    __slots__ = (
        "_positions",
        "_readers",
        "_waiting",
        "differing",
        "digests",
        "end",
        "low",
        "partition",
        "topic",
        "twice",
    )

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.end = 0
        self.digests: dict[int, str] = {}
        self.low = 0
        self.twice: tuple[AppendedEntry, ...] = ()
        self.differing: tuple[DeliverEntry, ...] = ()
        self._readers = readers_of(topic)
        self._positions: dict[str, int] = {}
        self._waiting: dict[int, list[Entry]] = {}

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"

    def append(self, offset: int, digest: str, entry: Entry) -> None:
        """A record stands at an offset, by this `appended`."""
        if offset >= self.end:
            self.end = offset + 1
        if self._waiting:
            for delivered in map(DeliverEntry._make, self._waiting.pop(offset, ())):
                if delivered.digest != digest:
                    self.differing += (delivered,)
        if offset in self.digests or (offset < self.low and not self._readers):
            self.twice += (AppendedEntry._make(entry),)
        elif offset >= self.low:
            self.digests[offset] = digest
            if not self._readers:
                self._forget_unread()

    def _forget_unread(self) -> None:
        """Where no group reads, all that matters is that something stands at each offset."""
        while self.digests.pop(self.low, None) is not None:
            self.low += 1

    def wait(self, offset: int, entry: Entry) -> None:
        """A record was handed over, by this `deliver`, and is not known to stand there yet."""
        self._waiting.setdefault(offset, []).append(entry)

    def differ(self, entry: Entry) -> None:
        """A record was handed over, by this `deliver`, and another one stands at its offset."""
        self.differing += (DeliverEntry._make(entry),)

    def unknown(self) -> tuple[DeliverEntry, ...]:
        """Deliveries of what stands nowhere, when the history is complete."""
        return tuple(
            DeliverEntry._make(entry) for waiting in self._waiting.values() for entry in waiting
        )

    def pass_by(self, group: str, position: int) -> None:
        """A group has committed `position`: forget the records that all groups have passed."""
        positions = self._positions
        positions[group] = position
        if len(positions) < self._readers:
            return
        low = min(positions.values())
        if low > self.low:
            digests = self.digests
            for offset in range(self.low, low):
                digests.pop(offset, None)
            self.low = low


class Topics(dict[tuple[str, int], StandingRecords]):
    """All partitions of a run, by (topic, partition); a missing one is made."""

    def __missing__(self, key: tuple[str, int]) -> StandingRecords:
        records = self[key] = StandingRecords(*key)
        return records
