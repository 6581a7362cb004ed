"""`lab bench`: the rounds are taken, the figures made of them, and both reported as one object.

Not here: the measurements (`rounds`, `long_run`), the figures (`simulated_figures`), and printing.
"""

import time
from statistics import median
from typing import Final

from lab import __version__
from lab.bench import load
from lab.bench import simulated_figures as figures
from lab.bench.figures import SCHEMA_VERSION, Figure
from lab.bench.interpreter import this_machine
from lab.bench.latency import latency_of
from lab.bench.long_run import measure_long_run
from lab.bench.report import Report
from lab.bench.rounds import DEFAULT, OnProgress, Progress, Rounds, Sizes

ROUNDS: Final = 5
_GROW_BASE: Final = 3


class BenchReport(Report, frozen=True, kw_only=True):
    """Everything that `lab bench` found.

    Attributes:
        lab: version of the lab.
        rounds: how often each figure was measured; values are medians over them.
        latency: of the orders of one run, in virtual time.
        wall_s: how long the measuring took.
        thresholds: those that were given, and what was measured.
        compared: the figures beside those of an earlier report.
        full: with the runs of up to 100,000 orders.
        hop_us: processor time of one ping-pong step between two tasks over two unbounded stdlib
            queues on a stdlib loop.
        hop_us_low, hop_us_high: smallest and largest of a round.
    """

    full: bool
    hop_us: float
    hop_us_low: float
    hop_us_high: float


def measure(
    *,
    full: bool = False,
    rounds: int = ROUNDS,
    sizes: Sizes = DEFAULT,
    on_progress: OnProgress | None = None,
) -> BenchReport:
    """Measure every figure and its baseline in this process, and in children of it.

    Args:
        full: also the growth with the number of orders; takes a minute more.
        rounds: how often each figure is measured.
        sizes: of the measurements.
        on_progress: see `Progress`.

    Raises:
        BenchError: a run did not do its work.
        subprocess.CalledProcessError: a child process did not.
    """
    start = time.perf_counter()
    machine = this_machine()
    source = Rounds(sizes, rounds=rounds, on_progress=on_progress)
    taken = [source.take() for _ in range(rounds)]
    grown = _growth(sizes.grow, on_progress) if full else ()
    hop_low, hop, hop_high = figures.hop(taken)
    order_us = median(one.order_us for one in taken)
    return BenchReport(
        schema_version=SCHEMA_VERSION,
        lab=__version__,
        machine=machine,
        rounds=rounds,
        full=full,
        hop_us=hop,
        hop_us_low=hop_low,
        hop_us_high=hop_high,
        figures=(*figures.all_of(taken), *grown),
        latency=latency_of(
            load.metrics(sizes.orders),
            orders_per_s=1e6 / order_us,
            how=f"{sizes.orders:,} orders of {load.LOAD}, each at its time, in virtual time; "
            "orders/s of processor time",
        ),
        wall_s=time.perf_counter() - start,
    )


def _growth(orders: tuple[int, int, int], on_progress: OnProgress | None) -> tuple[Figure, ...]:
    """The long runs: the short one of them several times, around the others."""
    small, middle, large = orders
    plan = [small, middle, small, large, *[small] * (_GROW_BASE - 2)]
    progress = Progress(len(plan), on_progress)
    done = []
    for count in plan:
        progress.begin(f"a run of {count:,} orders")
        done.append(measure_long_run(count))
    of = {count: [one for one in done if one.orders == count] for count in orders}
    return figures.growth(of[small], of[middle][0], of[large][0])
