"""The skeleton of an order: its suspensions and timers on the virtual loop, and no work at all.

No change of the pipeline can save this, as long as it suspends as often. Handles that wake a
waiting task count as suspensions here, though each has a future besides: the floor lies a little
too low.
"""

import gc
import time

from lab.runtime.virtual_loop import Scheduler, sleep_us, suspend

_GAP_US = 50_000


def skeleton_us(orders: int, *, steps: int, timers: int) -> float:
    """Microseconds of processor time of one order without work.

    Args:
        orders: how many are run for the measurement; they arrive 20 a second.
        steps: handles that the loop takes for one order, timers included.
        timers: how many of them are timers.
    """
    gc.collect()
    with Scheduler() as scheduler:
        start = time.process_time()
        scheduler.run(_load(scheduler, orders, steps, timers))
        return (time.process_time() - start) / orders * 1e6


async def _load(scheduler: Scheduler, orders: int, steps: int, timers: int) -> None:
    # A task takes its first step and, when it ends, one more handle that forgets it; a timer takes
    # two, one that fires and one that wakes the task.
    suspensions = max(0, steps - 2 - 2 * timers)
    process = scheduler.process("skeleton")
    for _ in range(orders):
        process.spawn(_order(suspensions, timers))
        await sleep_us(_GAP_US)
    await sleep_us(_GAP_US * 10)


async def _order(suspensions: int, timers: int) -> None:
    for _ in range(suspensions):
        await suspend()
    for _ in range(timers):
        await sleep_us(_GAP_US // 4)
