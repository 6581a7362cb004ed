"""`lab bench`: the rounds are taken, the figures made of them, and both reported as one object.

Not here: the measurements (`rounds`, `long_run`), the figures (`simulated_figures`,
`asked_figures`), and printing.
"""

import time
from collections.abc import Collection, Sequence
from itertools import chain
from statistics import median
from typing import Final

from lab import __version__
from lab.bench import asked_figures, load
from lab.bench import simulated_figures as figures
from lab.bench.figures import SCHEMA_VERSION, Figure, of_part
from lab.bench.interpreter import this_machine
from lab.bench.latency import Latency, latency_of
from lab.bench.long_run import LongRun, measure_long_run
from lab.bench.pattern_costs import count_all_calls
from lab.bench.report import Report
from lab.bench.rounds import (
    DEFAULT,
    OnProgress,
    Progress,
    Round,
    Rounds,
    Sizes,
    take_rounds,
)
from lab.patterns import NAMES

ROUNDS: Final = 5
_BASES_MIN: Final = 3


class BenchReport(Report, frozen=True, kw_only=True):
    """Everything that `lab bench` found.

    Attributes:
        lab: version of the lab.
        rounds: how often each figure was measured; values are medians over them.
        latency: of the orders of one run, in virtual time; null if it was left out.
        wall_s: how long the measuring took.
        parts: what was measured, by the names that `--only` takes.
        thresholds: those that were given, and what was measured.
        compared: the figures beside those of an earlier report.
        not_now: figures of the earlier report that were not measured this time.
        not_before: figures that the earlier report has not.
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
    parts: Collection[str] = figures.USUAL,
    rounds: int = ROUNDS,
    duration_s: float | None = None,
    sizes: Sizes = DEFAULT,
    on_progress: OnProgress | None = None,
) -> BenchReport:
    """Measure every figure of some parts and its baseline, in this process and in children of it.

    Args:
        parts: names of `lab.bench.parts.SIMULATED`, in their order.
        rounds: how often each figure is measured.
        duration_s: as many rounds as fit into this, at least one, instead of `rounds`.
        sizes: of the measurements.
        on_progress: see `Progress`.

    Raises:
        BenchError: a run did not do its work.
        subprocess.CalledProcessError: a child process did not.
    """
    start = time.perf_counter()
    machine = this_machine()
    known = rounds if duration_s is None else 0
    source = Rounds(parts, sizes, rounds=known, on_progress=on_progress)
    taken = take_rounds(source.take, rounds=rounds, duration_s=duration_s)
    found = [*figures.all_of(taken, parts), *_asked_for(parts, taken, on_progress)]
    hop_low, hop, hop_high = figures.hop(taken)
    return BenchReport(
        schema_version=SCHEMA_VERSION,
        lab=__version__,
        machine=machine,
        rounds=len(taken),
        parts=tuple(parts),
        full="growth" in parts,
        hop_us=hop,
        hop_us_low=hop_low,
        hop_us_high=hop_high,
        figures=tuple(found),
        latency=_latency(taken) if "latency" in parts else None,
        wall_s=time.perf_counter() - start,
    )


def _latency(rounds: Sequence[Round]) -> Latency:
    orders = rounds[0].sizes.orders
    return latency_of(
        load.metrics(orders),
        orders_per_s=1e6 / median(one.order_us for one in rounds),
        how=f"{orders:,} orders of {load.LOAD}, each at its time, in virtual time; "
        "orders/s of processor time",
    )


def _asked_for(
    parts: Collection[str], rounds: Sequence[Round], on_progress: OnProgress | None
) -> tuple[Figure, ...]:
    """The figures that are not of rounds alone, measured now."""
    sizes = rounds[0].sizes
    found: tuple[Figure, ...] = ()
    if "growth" in parts:
        of = _long_runs(sizes.grow, on_progress)
        small, (middle,), (large,) = (of[count] for count in sizes.grow)
        found += of_part("growth", asked_figures.growth(small, middle, large))
    if "patterns" in parts:
        calls = count_all_calls(sizes.counted, Progress(len(NAMES) + 1, on_progress).begin)
        found += of_part("patterns", asked_figures.patterns(rounds, calls))
    if "sizes" in parts:
        of = _long_runs(sizes.ladder, on_progress)
        base, *larger = (of[count] for count in sizes.ladder)
        ladder = asked_figures.ladder(base, list(chain.from_iterable(larger)))
        found += of_part("sizes", ladder)
    return found


def long_plan(orders: Sequence[int]) -> list[int]:
    """The runs of each number of orders, one after the other: the first of them around the others.

    A machine that slows down meanwhile slows the baseline down too.
    """
    first, *others = orders
    plan = list(chain.from_iterable((first, other) for other in others))
    return plan + [first] * max(_BASES_MIN - len(others), 1)


def _long_runs(orders: Sequence[int], on_progress: OnProgress | None) -> dict[int, list[LongRun]]:
    plan = long_plan(orders)
    progress = Progress(len(plan), on_progress)
    done: dict[int, list[LongRun]] = {count: [] for count in orders}
    for count in plan:
        progress.begin(f"a run of {count:,} orders")
        done[count].append(measure_long_run(count))
    return done
