"""FastStream on its KafkaBroker: the ack policies that it offers, and an add-on for concurrency.

Logging and the conversion of arguments are off: both cost, and none of the others does them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from faststream_concurrent_aiokafka import (
    KafkaConcurrentProcessingMiddleware,
    initialize_concurrent_processing,
    stop_concurrent_processing,
)

from benchmarks.peers.lanes import by_key
from benchmarks.peers.workload import Job, Work


async def _raw(message: Any) -> bytes:
    """A decoder that leaves a record as it is."""
    return bytes(message.body)


async def _raw_batch(message: Any) -> list[bytes]:
    """The same for a batch."""
    return [one.value for one in message.raw_message]


def _subscribe(job: Job, broker: Any, work: Work, **settings: Any) -> None:
    broker.subscriber(
        job.topic_there,
        group_id=job.group_there,
        auto_offset_reset="earliest",
        session_timeout_ms=job.session_ms,
        heartbeat_interval_ms=job.heartbeat_ms,
        decoder=_raw,
        no_reply=True,
        **settings,
    )(work.handle)


def in_turn(job: Job, broker: Any, work: Work) -> Any:
    """A commit after each record."""
    _subscribe(job, broker, work, ack_policy=AckPolicy.NACK_ON_ERROR)
    return FastStream(broker, logger=None)


def partitions(job: Job, broker: Any, work: Work) -> Any:
    """A consumer for each partition, and a commit after each record."""
    policy = AckPolicy.NACK_ON_ERROR
    _subscribe(job, broker, work, ack_policy=policy, max_workers=job.partitions)
    return FastStream(broker, logger=None)


def batches(job: Job, broker: Any, work: Work) -> Any:
    """A commit after each batch, in which the keys run at once."""

    async def handle(values: list[bytes]) -> None:
        await by_key(work, values)

    broker.subscriber(
        job.topic_there,
        group_id=job.group_there,
        auto_offset_reset="earliest",
        session_timeout_ms=job.session_ms,
        heartbeat_interval_ms=job.heartbeat_ms,
        max_partition_fetch_bytes=job.fetch_bytes,
        decoder=_raw_batch,
        no_reply=True,
        batch=True,
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )(handle)
    return FastStream(broker, logger=None)


def ack_first(job: Job, broker: Any, work: Work) -> Any:
    """Many at once, and the client commits by the clock what it has handed out."""
    _subscribe(
        job,
        broker,
        work,
        ack_policy=AckPolicy.ACK_FIRST,
        max_workers=job.concurrency,
        auto_commit_interval_ms=job.commit_ms,
    )
    return FastStream(broker, logger=None)


def concurrent(job: Job, broker: Any, work: Work) -> Any:
    """The add-on: many at once, and it commits the prefix that is done."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await initialize_concurrent_processing(
            context=broker.context,
            concurrency_limit=job.concurrency,
            commit_batch_size=job.batch,
            commit_batch_timeout_sec=job.commit_ms / 1000,
        )
        try:
            yield
        finally:
            await stop_concurrent_processing(broker.context)

    broker.add_middleware(KafkaConcurrentProcessingMiddleware)
    _subscribe(job, broker, work, ack_policy=AckPolicy.MANUAL)
    return FastStream(broker, logger=None, lifespan=lifespan)


SETTINGS: Final[dict[str, Callable[[Job, Any, Work], Any]]] = {
    "in-turn": in_turn,
    "partitions": partitions,
    "batches": batches,
    "ack-first": ack_first,
    "concurrent": concurrent,
}


async def consume(job: Job) -> None:
    """Run the application until SIGTERM, which FastStream hears itself."""
    broker = KafkaBroker(job.bootstrap, logger=None, apply_types=False)
    await SETTINGS[job.setting](job, broker, Work(job.journal)).run()


if __name__ == "__main__":
    asyncio.run(consume(Job.of_this_process()))
