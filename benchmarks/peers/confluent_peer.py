"""confluent-kafka: `consume`, handle, commit; blocking, and with its asyncio client."""

import asyncio
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.aio import AIOConsumer

from benchmarks.peers.lanes import by_key
from benchmarks.peers.stopping import stop_signal, stop_signal_blocking
from benchmarks.peers.workload import Job, Work

_POLL_S: Final = 0.1


def _configuration(job: Job) -> dict[str, Any]:
    return {
        "bootstrap.servers": job.bootstrap,
        "group.id": job.group_there,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "max.partition.fetch.bytes": job.fetch_bytes,
        "session.timeout.ms": job.session_ms,
        "heartbeat.interval.ms": job.heartbeat_ms,
    }


def _whole(found: Any) -> Any:
    if found.error() is not None:
        raise KafkaException(found.error())
    return found


def consume_in_turn(job: Job) -> None:
    """One record after the other; committed after each fetch, and at SIGTERM."""
    work, stopped = Work(job.journal), stop_signal_blocking()
    consumer = Consumer(_configuration(job))
    consumer.subscribe([job.topic_there])
    try:
        while not stopped.is_set():
            fetched = [_whole(one) for one in consumer.consume(job.batch, timeout=_POLL_S)]
            handled = []
            for one in fetched:
                if stopped.is_set():
                    break
                work.handle_blocking(one.value())
                handled.append(one)
            if handled:
                consumer.commit(offsets=_after(handled), asynchronous=False)
    finally:
        consumer.close()


async def consume_keys(job: Job) -> None:
    """The records of a key one after the other, the keys at once; committed after each fetch."""
    work, stopped = Work(job.journal), stop_signal()
    consumer = AIOConsumer(_configuration(job), max_workers=4)
    await consumer.subscribe([job.topic_there])
    at_once = job.batch * job.partitions
    try:
        while not stopped.is_set():
            fetched = [_whole(one) for one in await consumer.consume(at_once, timeout=_POLL_S)]
            await by_key(work, [one.value() for one in fetched])
            if fetched:
                await consumer.commit(offsets=_after(fetched), asynchronous=False)
    finally:
        await consumer.close()


def _after(handled: list[Any]) -> list[Any]:
    """The offset behind the last record of each partition."""
    ends = {(one.topic(), one.partition()): one.offset() + 1 for one in handled}
    return [TopicPartition(topic, partition, end) for (topic, partition), end in ends.items()]


if __name__ == "__main__":
    asked = Job.of_this_process()
    if asked.setting == "in-turn":
        consume_in_turn(asked)
    else:
        asyncio.run(consume_keys(asked))
