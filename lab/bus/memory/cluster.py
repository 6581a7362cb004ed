"""The brokers of the memory log, while one of them is missing: who leads, and who may append.

Each partition has its copies on brokers that stand side by side, and one of them leads it. A broker
that is killed is missed at once, and replaced as the leader after an election; one that is told to
stop hands its leadership over. Those that come back follow. Not here: records, and who waits.
"""

from collections.abc import Callable, Sequence
from typing import Final

from lab.bus.memory.groups import SimLoop
from lab.domain.partitioner import murmur2
from lab.ports.bus import TopicPartition

BROKERS: Final = 3


class Cluster:
    """Three brokers of which some may be down.

    Args:
        root: loop of the harness, on which elections take their time.
        copies: of each partition; 0: one on each broker.
        min_insync: copies that have to be there for an append; 0: all but one.
        changed: called when somebody leads again, or is there again.
    """

    def __init__(
        self, root: SimLoop, *, copies: int, min_insync: int, changed: Callable[[], object]
    ) -> None:
        self._root = root
        self._copies = min(copies or BROKERS, BROKERS)
        self._min_insync = min_insync or max(self._copies - 1, 1)
        self._changed = changed
        self._down: dict[int, None] = {}
        self._dying: dict[int, int] = {}
        self._elections = 0
        self._leaders: dict[TopicPartition, int] = {}
        self._firsts: dict[str, int] = {}

    def lose(self, broker: int, *, elects_us: int) -> None:
        """The broker is gone; what it led is led by another one after `elects_us`."""
        self._down[broker] = None
        self._elections += 1
        number = self._elections
        if elects_us:
            self._dying[broker] = number
            self._root.call_after_us(elects_us, lambda: self._elected(broker, number))

    def regain(self, broker: int) -> None:
        """The broker is there again."""
        self._down.pop(broker, None)
        self._dying.pop(broker, None)
        self._changed()

    def leads(self, partition: TopicPartition) -> bool:
        """Whether somebody leads the partition: then it can be read."""
        leader = self._leaders.get(partition) or self._copies_of(partition)[0]
        if leader in self._down and leader not in self._dying:
            standing = [one for one in self._copies_of(partition) if one not in self._down]
            leader = standing[0] if standing else leader
        self._leaders[partition] = leader
        return leader not in self._down

    def appends(self, partition: TopicPartition) -> bool:
        """Whether it can be appended to: it is led, and enough copies are there."""
        standing = [one for one in self._copies_of(partition) if one not in self._down]
        return len(standing) >= self._min_insync and self.leads(partition)

    def _elected(self, broker: int, number: int) -> None:
        if self._dying.get(broker) == number:
            del self._dying[broker]
            self._changed()

    def _copies_of(self, partition: TopicPartition) -> Sequence[int]:
        topic, number = partition
        first = self._firsts.get(topic)
        if first is None:
            first = self._firsts[topic] = murmur2(topic.encode())
        first += number
        return [(first + number) % BROKERS + 1 for number in range(self._copies)]
