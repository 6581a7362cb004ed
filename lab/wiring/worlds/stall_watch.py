"""The watch over the machine: it writes down when a process of the system stood still.

A process stands still when it is stopped, swapped out, or without a processor. A check that
measures time leaves those moments out. Not here: the checks (`lab.checks`), and pauses, which are
faults.
"""

from collections.abc import Callable, Iterable
from typing import Final

from lab.history.recorder import Write
from lab.ports.clock import Clock

TICK_US: Final = 50_000
LATE_US: Final = 20_000
"""Less is the usual unpunctuality of a timer."""


async def write_stalls(clock: Clock, write: Write, processes: Callable[[], Iterable[str]]) -> None:
    """Write an entry `stalled` for each stall of the process that this runs in; never returns.

    Args:
        clock: of that process; it must be the machine's.
        write: takes the entries.
        processes: names of the processes of the lab that stood still with it, asked afterwards.
    """
    while True:
        due_us = clock.now_us() + TICK_US
        await clock.sleep_us(TICK_US)
        now_us = clock.now_us()
        if now_us - due_us > LATE_US:
            for process in processes():
                write(("stalled", now_us, process, "", now_us - due_us))
