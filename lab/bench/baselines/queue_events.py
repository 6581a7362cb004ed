"""Events over one `asyncio.Queue`: each is encoded, put, taken and decoded, and nothing more.

The least that any bus in memory does: no partition, no group, no position, no settlement. Nothing
of the lab is used here but the event, which the caller makes.
"""

import asyncio
import gc
import time
from collections.abc import Callable

import msgspec


def queue_event_us(make: Callable[[int], msgspec.Struct], events: int, *, burst: int) -> float:
    """Microseconds of processor time of one event.

    Args:
        make: the event of a number, not yet encoded.
        events: how many, at least 1.
        burst: so many are put before the one who takes them has its turn.
    """
    gc.collect()
    start = time.process_time()
    asyncio.run(_move(make, events, burst))
    return (time.process_time() - start) / events * 1e6


async def _move(make: Callable[[int], msgspec.Struct], events: int, burst: int) -> None:
    queue: asyncio.Queue[bytes] = asyncio.Queue(burst)
    encode = msgspec.json.Encoder().encode
    decode = msgspec.json.Decoder(type(make(0))).decode

    async def put_all() -> None:
        for number in range(events):
            await queue.put(encode(make(number)))

    task = asyncio.create_task(put_all())
    for _ in range(events):
        decode(await queue.get())
    await task
