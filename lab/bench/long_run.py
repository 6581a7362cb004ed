"""One long run in a process of its own: what an order of it cost, and the most memory it took.

`python -m lab.bench.long_run ORDERS` is that process; it prints one JSON object. Memory that one
run took is never given back in a way that a peak would forget, so two runs cannot share a process.

Orders come so slowly that whatever is remembered for a window of time (a day of duplicates and
provider keys) is forgotten again within the run: what still grows then grows without bound.
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


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """What a long run took.

    Attributes:
        order_us: processor time of one order, everything on, set-up excluded.
        hop_us: of a hop in the same process, before and after.
        peak_kib: most memory that was resident.
    """

    orders: int
    order_us: float
    hop_us: float
    peak_kib: int


def grow(orders: int) -> Grown:
    """Run so many orders in a new process.

    Raises:
        subprocess.CalledProcessError: the run failed; its output is attached.
        subprocess.TimeoutExpired: it took more than ten minutes.
    """
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", __name__, str(orders)],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TIMEOUT_S,
    )
    return msgspec.json.decode(done.stdout, type=Grown)


def grow_here(orders: int) -> Grown:
    """Run them in this process, whose peak they then make."""
    load.order_us(_WARM_UP, observe=True)
    before = hop_us()
    order_us = load.order_us(orders, observe=True, rate=RATE)
    return Grown(
        orders=orders,
        order_us=order_us,
        hop_us=median((before, hop_us(), hop_us())),
        peak_kib=peak_kib(),
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(grow_here(int(sys.argv[1]))))
