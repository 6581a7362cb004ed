"""The figures of `lab bench` that take minutes, and are measured on request only.

Not here: measuring (`long_run`, `pattern_costs`), and the other figures (`simulated_figures`).
"""

from collections.abc import Sequence
from statistics import median
from typing import Final

from lab.bench.figures import Figure, at_most, make_figure
from lab.bench.long_run import RATE, LongRun
from lab.bench.pattern_costs import PatternCalls
from lab.bench.rounds import Round

CALLS: Final = ", calls"
"""Ends the name of a figure that is counted."""

_CPU: Final = "processor time an order, a run of one order taken off"
_HOPS: Final = f"{RATE:g} orders a second, a process for each run; processor time in its own hops"


def growth(small: Sequence[LongRun], middle: LongRun, large: LongRun) -> tuple[Figure, Figure]:
    """The cost of the last of many orders, and the memory of the run."""
    # A machine that slows one process down slows its hops down too.
    base = small[0]
    cost = make_figure(
        f"cost an order, {large.orders:,} / {base.orders:,}",
        [(large.order_us / large.hop_us, one.order_us / one.hop_us) for one in small],
        unit="hops",
        against=f"the run of {base.orders:,} orders",
        goal=at_most(1.1),
        how=_HOPS,
    )
    memory = make_figure(
        f"peak memory, {large.orders:,} / {middle.orders:,} orders",
        [(large.peak_kib / 1024, middle.peak_kib / 1024)],
        unit="MiB",
        against=f"the run of {middle.orders:,} orders",
        goal=at_most(1.05),
        how="peak resident set of a process for each run, after two windows of dedupe; history "
        "folded and not kept; "
        f"{(large.peak_kib - middle.peak_kib) / (large.orders - middle.orders):.2f} KiB an order",
    )
    return cost, memory


def ladder(base: Sequence[LongRun], larger: Sequence[LongRun]) -> tuple[Figure, ...]:
    """The cost of an order and the peak of memory by the number of orders.

    Args:
        base: runs of the smallest number of orders, the baseline.
        larger: one run of each other number.
    """
    first = base[0]
    against = f"the run of {first.orders:,} orders"
    base_kib = median(one.peak_kib for one in base)
    found: list[Figure] = []
    for run in larger:
        more_kib = (run.peak_kib - base_kib) / (run.orders - first.orders)
        found += (
            make_figure(
                f"cost an order, {run.orders:,} orders",
                [(run.order_us / run.hop_us, one.order_us / one.hop_us) for one in base],
                unit="hops",
                against=against,
                how=f"{run.order_us:,.0f} us; {_HOPS}",
            ),
            make_figure(
                f"peak memory, {run.orders:,} orders",
                [(run.peak_kib / 1024, one.peak_kib / 1024) for one in base],
                unit="MiB",
                against=against,
                how="peak resident set of a process for each run; what is remembered for a day is "
                f"that of {86_400 * RATE:,.0f} orders; {more_kib:.2f} KiB for each order more",
            ),
        )
    return tuple(found)


def patterns(rounds: Sequence[Round], calls: PatternCalls) -> tuple[Figure, ...]:
    """The cost of each pattern in time and in calls: an order with all of them over one without."""
    orders = rounds[0].sizes.without
    return tuple(
        figure
        for name, off in calls.off.items()
        for figure in (
            make_figure(
                f"pattern {name}",
                [(one.patterns[name].on_us, one.patterns[name].off_us) for one in rounds],
                unit="us",
                against="an order without it",
                how=f"happy-path, {orders:,} orders, on, off, off, on in each round; {_CPU}",
            ),
            make_figure(
                f"pattern {name}{CALLS}",
                [(calls.on, off)],
                unit="calls",
                against="an order without it",
                how="calls of functions of an order, of Python and of C; the same in every run",
            ),
        )
    )
