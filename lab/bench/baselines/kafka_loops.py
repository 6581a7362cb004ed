"""Bare aiokafka: a consumer without promises, and three hops of plain `send()`.

Producers wait for every replica, as the lab's do; that is all these loops promise. Nothing of the
lab is used here but `work_until`, which runs the tasks.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from lab.bench.work_until import work_until

Payload = tuple[bytes, bytes, list[tuple[str, bytes]]]
"""Key, value and headers of a record."""

_LINGER_MS: Final = 2
_BATCH_BYTES: Final = 256 * 1024
_POLL_MS: Final = 100
_POLL_RECORDS: Final = 1_000


async def handle_all_s(
    bootstrap: str,
    topic: str,
    *,
    group: str,
    events: int,
    workers: int,
    handle: Callable[[bytes, bytes], Awaitable[None]],
) -> float:
    """Seconds from the first of a topic's records until all are handled.

    They are handled as they come, `workers` at once, and positions are committed by the clock,
    whether or not the records below them were handled.

    Args:
        bootstrap: the broker.
        topic: its name there.
        group: a name that nobody has used.
        events: how many records there are; all of them are there already.
        workers: handlers that run at once.
        handle: takes key and value.

    Raises:
        TimeoutError: it took more than a minute.
    """
    found: deque[tuple[bytes, bytes]] = deque()
    room, there = asyncio.Semaphore(2 * workers), asyncio.Semaphore(0)
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left, start_s = events, 0.0

    async def fetch(consumer: Any) -> None:
        nonlocal start_s
        while True:
            for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                start_s = start_s or time.perf_counter()
                for record in records:
                    await room.acquire()
                    found.append((record.key, record.value))
                    there.release()

    async def work() -> None:
        nonlocal left
        while True:
            await there.acquire()
            await handle(*found.popleft())
            room.release()
            left -= 1
            if not left:
                end.set_result(None)

    async with _consumer(bootstrap, topic, group, enable_auto_commit=True) as consumer:
        await work_until(end, [fetch(consumer), *(work() for _ in range(workers))])
        return time.perf_counter() - start_s


async def three_hops_s(
    bootstrap: str,
    topics: Sequence[str],
    *,
    group: str,
    hops: Sequence[Mapping[bytes, Payload]],
    burst: int,
) -> float:
    """Seconds from the first `send()` until the last order has come out of the last topic.

    The records of one poll are sent on, acknowledged, and then committed.

    Args:
        bootstrap: the broker.
        topics: their names there, in the order of the hops.
        group: names that begin with it are nobody's.
        hops: for each topic the records that are sent to it, by key. The first key is a rehearsal,
            so that no group forms while the clock runs.
        burst: orders that are sent at once.

    Raises:
        TimeoutError: it took more than a minute.
    """
    loop = asyncio.get_running_loop()
    rehearsed, end = loop.create_future(), loop.create_future()
    left, start_s = len(hops[0]), 0.0

    async def hop(number: int, consumer: Any) -> None:
        nonlocal left
        while True:
            polled = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
            keys = [record.key for records in polled.values() for record in records]
            if keys and number < len(topics):
                await _send(producer, topics[number], [hops[number][key] for key in keys])
            elif keys:
                left -= len(keys)
                if not rehearsed.done():
                    rehearsed.set_result(None)
                if not left:
                    end.set_result(None)
            if keys:
                await consumer.commit()

    async def drive() -> None:
        nonlocal start_s
        rehearsal, *orders = hops[0].values()
        await _send(producer, topics[0], [rehearsal])
        await rehearsed
        start_s = time.perf_counter()
        for place in range(0, len(orders), burst):
            await _send(producer, topics[0], orders[place : place + burst])

    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(_producer(bootstrap))
        consumers = [
            await stack.enter_async_context(_consumer(bootstrap, topic, f"{group}.{topic}"))
            for topic in topics
        ]
        reading = [hop(number, consumer) for number, consumer in enumerate(consumers, 1)]
        await work_until(end, [*reading, drive()])
        return time.perf_counter() - start_s


async def _send(producer: Any, topic: str, payloads: Sequence[Payload]) -> None:
    sent = [
        await producer.send(topic, value, key=key, headers=headers)
        for key, value, headers in payloads
    ]
    await asyncio.gather(*sent)


@asynccontextmanager
async def _producer(bootstrap: str) -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        linger_ms=_LINGER_MS,
        max_batch_size=_BATCH_BYTES,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def _consumer(
    bootstrap: str, topic: str, group: str, *, enable_auto_commit: bool = False
) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=enable_auto_commit,
        fetch_max_wait_ms=_POLL_MS,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()
