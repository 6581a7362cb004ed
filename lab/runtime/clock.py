"""The two clocks: that of a simulated process, on either scheduler, and the machine's.

Not here: choosing one (wiring), and reading a clock anywhere else.
"""

import asyncio
import time

from lab.ports.clock import Clock
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.virtual_loop import sleep_us, suspend


class VirtualClock:
    """The `Clock` of one simulated process; its skew shows in both times, never in a sleep.

    It reads the loop's own clock: an attribute costs no frame.
    """

    def __init__(self, loop: ProcessLoop) -> None:
        self.now_us = loop.now_us
        self.wall_us = loop.wall_us

    async def sleep_us(self, us: int) -> None:
        if us > 0:
            await sleep_us(us)
        else:
            await suspend()


class SystemClock(Clock):
    """The machine's clocks."""

    def now_us(self) -> int:
        return time.monotonic_ns() // 1000

    def wall_us(self) -> int:
        return time.time_ns() // 1000

    async def sleep_us(self, us: int) -> None:
        await asyncio.sleep(max(us, 0) / 1e6)
