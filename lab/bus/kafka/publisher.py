"""The bus on a real Kafka: one object per process that hands out its publisher and its consumers.

Records are bytes in both directions, their partition is chosen by our own murmur2, and every wait
has a deadline of ours. Not here: the consumer (`consumer.py`), making topics and reading them whole
(`topics.py`), lanes and retries (they are above the port).
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from lab.bus.kafka.client import (
    BATCH_BYTES_MAX,
    KAFKA_ERRORS,
    KafkaSettings,
    describe,
    mapped,
    within,
)
from lab.bus.kafka.consumer import KafkaConsumer
from lab.domain.errors import Indeterminate, TooLarge, Transient
from lab.domain.partitioner import partition_of
from lab.ports.bus import Outgoing, Publisher, Unread, record_bytes, record_limit

_SEND_BYTES: Final = 128 * 1024

# The library's sender has ended, or the broker does not take its sequence: it never sends again.
_THE_END: Final = (
    kafka_errors.OutOfOrderSequenceNumber,
    kafka_errors.InvalidProducerEpoch,
    kafka_errors.InvalidProducerIdMapping,
    kafka_errors.UnknownProducerId,
    kafka_errors.ProducerFenced,
    kafka_errors.ProducerClosed,
)


class KafkaBus:
    """The clients of one process. They connect when they are used first.

    Args:
        settings: see `KafkaSettings`.
        process: names this process's clients on the broker; partitions are shared out in the order
            of these names.
    """

    def __init__(self, settings: KafkaSettings, process: str) -> None:
        self._settings = settings
        self._process = process
        self._publisher = KafkaPublisher(settings, process)
        self._consumers: list[KafkaConsumer] = []

    def publisher(self) -> Publisher:
        """The process's publisher; all its users share one connection."""
        return self._publisher

    def consumer(self, group: str, unread: Unread = Unread.EARLIEST) -> KafkaConsumer:
        """A consumer; no member before `join`."""
        consumer = KafkaConsumer(self._settings, group, self._process, unread)
        self._consumers.append(consumer)
        return consumer

    async def close(self) -> None:
        """Send every record in hand, leave every group, disconnect; each in bounded time."""
        for consumer in self._consumers:
            await consumer.leave()
        await self._publisher.close()


class KafkaPublisher(Publisher):
    """An idempotent producer with acks=all.

    A record that it has taken it sends until the broker has it, also after the call's deadline:
    then a caller who repeats it gets a duplicate behind the original, never before it. The records
    that wait to be sent are bounded by one batch for each partition.
    """

    def __init__(self, settings: KafkaSettings, process: str) -> None:
        self._settings = settings
        self._process = process
        self._producer: Any = None
        self._starting: asyncio.Task[Any] | None = None

    async def publish(self, records: Sequence[Outgoing]) -> None:
        _check_sizes(records)
        sent: list[asyncio.Future[Any]] = []
        try:
            await within(self._settings.publish_us, self._publish(records, sent))
        except TimeoutError:
            if not sent:
                raise Transient("publish: neither broker nor topic was reached in time") from None
            raise Indeterminate("publish: the broker's answer did not come in time") from None
        except KAFKA_ERRORS as error:
            if sent and (_is_the_end(error) or not all(map(_is_refused, sent))):
                raise Indeterminate(f"publish: {describe(error)}") from error
            raise mapped(error, "publish") from error
        finally:
            for future in sent:
                if future.done():
                    _look_at(future)
                else:
                    future.add_done_callback(_look_at)

    async def close(self) -> None:
        """Send every record in hand, in bounded time, and disconnect."""
        starting, self._starting = self._starting, None
        if starting is not None and not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
        await self._drop(self._producer)

    async def _publish(
        self, records: Sequence[Outgoing], sent: "list[asyncio.Future[Any]]"
    ) -> None:
        producer = self._producer
        if producer is None:
            producer = await self._started()
        stem = self._settings.stem
        known = producer.client.cluster.partitions_for_topic
        try:
            for record in records:
                topic = stem + record.topic
                partitions = known(topic) or await producer.partitions_for(topic)
                partition = partition_of(record.key, len(partitions))
                headers = list(record.headers)
                sent.append(
                    await producer.send(topic, record.value, record.key, partition, None, headers)
                )
            for future in sent:
                await future
        except KAFKA_ERRORS as error:
            if _is_the_end(error):
                await self._drop(producer)
            raise

    async def _started(self) -> Any:
        """The producer. A start outlives the call that began it, so that none is cut in two."""
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())
            self._starting.add_done_callback(_look_at)
        # Others wait for the same one; the first to hear of its failure may begin the next.
        starting = self._starting
        await asyncio.wait([starting])
        if self._producer is None:
            if self._starting is starting:
                self._starting = None
            if not starting.cancelled():
                starting.result()
            raise Transient("publish: the producer was closed")
        return self._producer

    async def _start(self) -> None:
        producer = AIOKafkaProducer(
            **self._settings.connection(self._process, self._settings.publish_us),
            acks="all",
            enable_idempotence=True,
            max_request_size=BATCH_BYTES_MAX,
            max_batch_size=_SEND_BYTES,
        )
        try:
            await producer.start()
        except BaseException:
            await _stop(producer, self._settings.leave_us)
            raise
        self._producer = producer
        self._starting = None

    async def _drop(self, producer: Any) -> None:
        """Do without this producer; the next call makes another one."""
        if producer is not None and producer is self._producer:
            self._producer = None
            await _stop(producer, self._settings.leave_us)


def _check_sizes(records: Sequence[Outgoing]) -> None:
    for record in records:
        size = record_bytes(record)
        if size > (limit := record_limit(record.topic)):
            raise TooLarge(f"a record of {size} bytes; {record.topic} takes {limit}")


async def _stop(producer: Any, limit_us: int) -> None:
    """Stop it, in bounded time: without a broker the library would wait for ever."""
    stopping = asyncio.ensure_future(producer.stop())
    await asyncio.wait([stopping], timeout=limit_us / 1e6)
    if not stopping.done():
        await producer.client.close()
        stopping.cancel()
        await asyncio.wait([stopping], timeout=1)
    with suppress(asyncio.CancelledError, *KAFKA_ERRORS):
        if stopping.done():
            stopping.result()


def _is_the_end(error: BaseException) -> bool:
    return isinstance(error, _THE_END) or type(error) is kafka_errors.KafkaError


def _is_refused(future: "asyncio.Future[Any]") -> bool:
    """The broker said no to this record; so it was certainly not appended."""
    return future.done() and not future.cancelled() and future.exception() is not None


def _look_at(future: "asyncio.Future[Any]") -> None:
    """An error that nobody waits for any more is no surprise."""
    if not future.cancelled():
        future.exception()
