"""How far the groups of a run are behind on a real Kafka, asked again and again while it goes on.

One connection that stays, and one request for the ends of all partitions. Not here: making and
reading topics (`topics.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any

from aiokafka.structs import TopicPartition as BrokerPartition

from lab.bus.kafka.client import KAFKA_ERRORS, KafkaSettings, mapped, within
from lab.bus.kafka.reader import reading
from lab.bus.kafka.topics import KafkaTopics
from lab.ports.bus import TopicPartition


class KafkaWatch(AbstractAsyncContextManager["KafkaWatch"]):
    """The lag of a run's groups. `async with` closes its connection.

    Args:
        settings: see `KafkaSettings`.
        topics: open, for the offsets that the groups have committed.
        groups: the topics that each group reads.
        partitions: of every topic.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: KafkaTopics,
        groups: Mapping[str, Sequence[str]],
        *,
        partitions: int,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._groups = groups
        self._partitions = partitions
        self._connection = AsyncExitStack()
        self._reader: Any = None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._drop()

    async def lag(self) -> int:
        """Records that a group which reads them has not committed, over all groups.

        The committed offsets are read first: a record that comes in between counts.

        Raises:
            Transient: the broker was not reached in time.
        """
        committed = {group: await self._topics.committed(group) for group in self._groups}
        ends = await self._ends(self._groups)
        return sum(
            sum(self._behind(topics, committed[group], ends).values())
            for group, topics in self._groups.items()
        )

    async def of_group(self, group: str) -> Mapping[str, int]:
        """The same of one group, by topic.

        Raises:
            Transient: the broker was not reached in time.
        """
        committed = await self._topics.committed(group)
        return self._behind(self._groups[group], committed, await self._ends([group]))

    def _behind(
        self,
        topics: Sequence[str],
        committed: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> Mapping[str, int]:
        return {
            topic: sum(
                ends[place] - committed.get(place, 0)
                for number in range(self._partitions)
                for place in (TopicPartition(topic, number),)
            )
            for topic in topics
        }

    async def _ends(self, groups: Iterable[str]) -> Mapping[TopicPartition, int]:
        settings = self._settings
        try:
            if self._reader is None:
                reader = reading(settings, self._places(self._groups))
                self._reader = await self._connection.enter_async_context(reader)
            asked = self._reader.end_offsets(self._places(groups))
            ends = await within(settings.connect_us, asked)
        except KAFKA_ERRORS as error:
            await self._drop()
            raise mapped(error, "lag") from error
        return {settings.own(place): offset for place, offset in ends.items()}

    def _places(self, groups: Iterable[str]) -> list[BrokerPartition]:
        """Every partition that one of the groups reads."""
        names = dict.fromkeys(topic for group in groups for topic in self._groups[group])
        return [
            self._settings.partition(TopicPartition(name, number))
            for name in names
            for number in range(self._partitions)
        ]

    async def _drop(self) -> None:
        """Disconnect; the next look connects anew."""
        self._reader = None
        await self._connection.aclose()
