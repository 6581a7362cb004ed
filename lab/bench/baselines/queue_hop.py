"""The hop: one ping-pong step between two tasks over two unbounded stdlib queues, on a stdlib loop.

The unit in which a simulated order is counted: it moves with the machine and the interpreter build
as the order does. Nothing of the lab is used here.
"""

import asyncio
import time
from typing import Final

HOPS: Final = 10_000


def hop_us(hops: int = HOPS) -> float:
    """Microseconds of processor time of one hop.

    Args:
        hops: how many are made for the measurement, at least 2; a round trip is two of them.
    """
    trips = hops // 2
    return asyncio.run(ping_pong(trips)) / (2 * trips) * 1e6


async def ping_pong(trips: int) -> float:
    """Seconds of processor time of `trips` round trips; each `get` finds its queue empty."""
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def echo() -> None:
        for _ in range(trips):
            await back.put(await there.get())

    task = asyncio.create_task(echo())
    await asyncio.sleep(0)
    start = time.process_time()
    for number in range(trips):
        await there.put(number)
        await back.get()
    spent = time.process_time() - start
    await task
    return spent
