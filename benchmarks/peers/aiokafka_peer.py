"""Bare aiokafka: `getmany`, handle, commit what was handled, in two loops as one writes them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

from benchmarks.peers.lanes import by_key, in_turn
from benchmarks.peers.stopping import stop_signal
from benchmarks.peers.workload import Job, Work

Polled = Mapping[Any, Sequence[Any]]
"""Records by their partition, as `getmany` gives them."""

_POLL_MS: Final = 100


async def consume(job: Job, handle_all: Callable[[Work, Polled], Awaitable[None]]) -> None:
    """Poll, handle, commit until SIGTERM; a poll that was begun is finished."""
    work, stopped = Work(job.journal), stop_signal()
    consumer = AIOKafkaConsumer(
        job.topic_there,
        bootstrap_servers=job.bootstrap,
        group_id=job.group_there,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        # Without it a poll is thousands of records of one partition, and few keys run at once.
        max_partition_fetch_bytes=job.fetch_bytes,
        session_timeout_ms=job.session_ms,
        heartbeat_interval_ms=job.heartbeat_ms,
    )
    await consumer.start()
    try:
        while not stopped.is_set():
            polled = await consumer.getmany(timeout_ms=_POLL_MS)
            await handle_all(work, polled)
            if polled:
                # A bare `commit()` takes the position, which a rebalance may have moved.
                await consumer.commit({tp: found[-1].offset + 1 for tp, found in polled.items()})
    finally:
        await consumer.stop()


async def partitions_at_once(work: Work, polled: Polled) -> None:
    """The records of a partition one after the other, the partitions at once."""
    await asyncio.gather(
        *(in_turn(work, [one.value for one in found]) for found in polled.values())
    )


async def keys_at_once(work: Work, polled: Polled) -> None:
    """The records of a key one after the other, the keys at once."""
    await by_key(work, [one.value for found in polled.values() for one in found])


SETTINGS: Final = {"partitions": partitions_at_once, "keys": keys_at_once}

if __name__ == "__main__":
    asked = Job.of_this_process()
    asyncio.run(consume(asked, SETTINGS[asked.setting]))
