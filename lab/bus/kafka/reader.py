"""A consumer of no group, for whoever looks at topics and handles none of their records.

Not here: what is looked for (`kafka_topics.py`, `kafka_watch.py`).
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition as BrokerPartition

from lab.bus.kafka.client import BATCH_BYTES_MAX, KAFKA_ERRORS, KafkaSettings, mapped, within


class Reader:
    """A consumer of no group, for the length of a block.

    It is told at once of all partitions that it will be asked about: otherwise the library learns
    of their topics one after another, with a pause of its own before each.

    Args:
        settings: see `KafkaSettings`.
        places: partitions, named as on the broker; nothing is fetched until others are assigned.
    """

    def __init__(self, settings: KafkaSettings, places: Sequence[BrokerPartition]) -> None:
        self._settings = settings
        self._places = places
        self._consumer: Any = None

    async def __aenter__(self) -> Any:
        settings = self._settings
        self._consumer = AIOKafkaConsumer(
            **settings.connection("lab-reader", settings.connect_us),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=BATCH_BYTES_MAX,
        )
        try:
            await within(settings.connect_us, self._consumer.start())
        except BaseException as error:
            await self._close()
            if isinstance(error, KAFKA_ERRORS):
                raise mapped(error, "topics") from error
            raise
        self._consumer.assign(self._places)
        self._consumer.pause(*self._places)
        return self._consumer

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        closing = asyncio.ensure_future(self._consumer.stop())
        await asyncio.wait([closing], timeout=self._settings.leave_us / 1e6)
