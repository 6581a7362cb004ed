"""One long run in a process of its own: the cost of an order, and the peak of memory.

`python -m lab.bench.long_run ORDERS` is that process; it prints one JSON object. Memory that one
run took is never given back in a way that a peak would forget, so two runs cannot share a process.

Orders come so slowly that everything remembered for a window of time (a day of duplicates and
provider keys) is forgotten again within the run: memory that still grows then grows without bound.
"""

import subprocess
import sys
from statistics import median
from typing import Final

import msgspec

from lab.bench import load
from lab.bench.baselines.queue_hop import hop_us
from lab.bench.peak_memory import peak_kib

RATE: Final = 0.25
"""Orders a second: 50,000 of them take more than two days."""

_WARM_UP: Final = 200
_TIMEOUT_S: Final = 600
_ORDER_TIMEOUT_S: Final = 0.01


class LongRun(msgspec.Struct, frozen=True, kw_only=True):
    """The costs of a long run.

    Attributes:
        order_us: processor time of one order, everything on, set-up excluded.
        hop_us: of a hop in the same process, before and after.
        peak_kib: most memory that was resident.
    """

    orders: int
    order_us: float
    hop_us: float
    peak_kib: int


def measure_long_run(orders: int) -> LongRun:
    """Run so many orders in a new process.

    Raises:
        subprocess.CalledProcessError: the run failed; its output is attached.
        subprocess.TimeoutExpired: it took more than ten minutes, and ten milliseconds an order.
    """
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", __name__, str(orders)],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TIMEOUT_S + orders * _ORDER_TIMEOUT_S,
    )
    return msgspec.json.decode(done.stdout, type=LongRun)


def measure_here(orders: int) -> LongRun:
    """Run so many orders in this process, whose peak they make."""
    load.order_us(_WARM_UP, observe=True)
    before = hop_us()
    order_us = load.order_us(orders, observe=True, rate=RATE)
    return LongRun(
        orders=orders,
        order_us=order_us,
        hop_us=median((before, hop_us(), hop_us())),
        peak_kib=peak_kib(),
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(measure_here(int(sys.argv[1]))))
