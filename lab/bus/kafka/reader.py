"""A consumer of no group, for an onlooker who handles no record.

Not here: the questions (`topics.py`, `lag.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition as BrokerPartition

from lab.bus.kafka.client import BATCH_BYTES_MAX, KAFKA_ERRORS, KafkaSettings, mapped, within


@asynccontextmanager
async def reading(settings: KafkaSettings, places: Sequence[BrokerPartition]) -> AsyncIterator[Any]:
    """A consumer of no group, for the length of a block.

    It is assigned at once all partitions that it will be asked about: otherwise the library learns
    of their topics one after another, with a pause of its own before each.

    Args:
        settings: see `KafkaSettings`.
        places: partitions, named as on the broker; nothing is fetched until others are assigned.
    """
    consumer = AIOKafkaConsumer(
        **settings.connection("lab-reader", settings.connect_us),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        # A record of a transaction that was given up is none.
        isolation_level="read_committed",
        fetch_max_wait_ms=100,
        max_partition_fetch_bytes=BATCH_BYTES_MAX,
    )
    try:
        try:
            await within(settings.connect_us, consumer.start())
        except KAFKA_ERRORS as error:
            raise mapped(error, "topics") from error
        consumer.assign(places)
        consumer.pause(*places)
        yield consumer
    finally:
        closing = asyncio.ensure_future(consumer.stop())
        await asyncio.wait([closing], timeout=settings.leave_us / 1e6)
