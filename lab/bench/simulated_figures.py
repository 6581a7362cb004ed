"""The figures of `lab bench`, each a pure function of the rounds.

Not here: measuring (`rounds`, `long_run`), and the class of a figure (`figures`).
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final

from lab.bench.figures import BenchGoal, Figure, at_least, at_most, make_figure
from lab.bench.long_run import RATE, LongRun
from lab.bench.rounds import Round, Sizes
from lab.wiring.many_runs import SMALL


def all_of(rounds: Sequence[Round]) -> tuple[Figure, ...]:
    """Every figure of the rounds, in the order in which they are shown."""
    return (
        order(rounds),
        core(rounds),
        floor(rounds),
        chaos(rounds),
        paced(rounds),
        *seeds(rounds),
        tiny(rounds),
        *cold(rounds),
    )


def prototypes(sizes: Sizes, *, full: bool) -> tuple[Figure, ...]:
    """The figures that will be measured: names, units and goals; the numbers are none."""
    ones: dict[str, Any] = dict.fromkeys(Round.__struct_fields__, 1.0) | {"sizes": sizes}
    found = all_of([Round(**ones)])
    if not full:
        return found
    runs = [LongRun(orders=count, order_us=1.0, hop_us=1.0, peak_kib=1) for count in sizes.grow]
    return (*found, *growth([runs[0]], *runs[1:]))


def hop(rounds: Sequence[Round]) -> tuple[float, float, float]:
    """Microseconds of a hop: smallest, median and largest of the rounds."""
    hops = [one.hop_us for one in rounds]
    return min(hops), median(hops), max(hops)


_CPU: Final = "processor time an order, a run of one order taken off"
_HOP: Final = "a hop: a ping-pong step between two tasks over two asyncio queues"


def order(rounds: Sequence[Round]) -> Figure:
    """A simulated order with history and checks, in hops."""
    return make_figure(
        "order, everything on",
        [(one.order_us, one.hop_us) for one in rounds],
        unit="us",
        against=_HOP,
        goal=at_most(60),
        how=f"happy-path, {rounds[0].sizes.orders:,} orders; {_CPU}",
    )


def core(rounds: Sequence[Round]) -> Figure:
    """A simulated order without history and checks, in hops."""
    return make_figure(
        "order, core",
        [(one.core_us, one.hop_us) for one in rounds],
        unit="us",
        against=_HOP,
        goal=at_most(30),
        how=f"the same without history and checks; {_CPU}",
    )


def floor(rounds: Sequence[Round]) -> Figure:
    """How much of the core is work: it against its own suspensions and timers."""
    one = rounds[0]
    return make_figure(
        "order, core / skeleton",
        [(each.core_us, each.skeleton_us) for each in rounds],
        unit="us",
        against=f"its {one.steps:.0f} loop steps and {one.timers:.0f} timers without work",
        how=_CPU,
    )


def chaos(rounds: Sequence[Round]) -> Figure:
    """The same load with faults, the work of repairing them included."""
    return make_figure(
        "order, chaos / none",
        [(one.chaos_us, one.order_us) for one in rounds],
        unit="us",
        against="the order without them",
        goal=at_most(1.2),
        how=f"duplicates, provider faults, client retries and crashes; {_CPU}",
    )


def paced(rounds: Sequence[Round]) -> Figure:
    """Simulated time over real time, everything on."""
    sizes = rounds[0].sizes
    virtual_s = sizes.orders / sizes.pace
    return make_figure(
        f"simulated / real, {sizes.pace:g} orders/s",
        [(virtual_s, one.paced_s) for one in rounds],
        unit="s",
        against="the wall time of the whole run",
        goal=at_least(400),
        how=f"happy-path, {sizes.orders:,} orders; simulated time until the last one is posted",
    )


def seeds(rounds: Sequence[Round]) -> tuple[Figure, Figure]:
    """Runs of `crashes` a second on one core, short ones and those of 100 orders."""
    sizes = rounds[0].sizes
    return (
        _seeds(rounds, sizes.short, lambda one: (one.short_seeds, one.short_calm), None),
        _seeds(
            rounds,
            sizes.long,
            lambda one: (one.long_seeds, one.long_calm),
            at_least(15, of="value") if sizes.long == 100 else None,
        ),
    )


def _seeds(
    rounds: Sequence[Round],
    orders: int,
    pair: Callable[[Round], tuple[float, float]],
    goal: BenchGoal | None,
) -> Figure:
    return make_figure(
        f"seeds a second, {orders} orders",
        [pair(one) for one in rounds],
        unit="1/s",
        against="as many of happy-path",
        goal=goal,
        how=f"whole runs of crashes, {rounds[0].sizes.runs} seeds a round, wall time, one core",
    )


def tiny(rounds: Sequence[Round]) -> Figure:
    """Runs of one order a second, one after the other in one process."""
    settings = " ".join(f"{name}={value}" for name, value in SMALL.items())
    return make_figure(
        "runs a second, 1 order",
        [(one.tiny_runs, one.tiny_default) for one in rounds],
        unit="1/s",
        against="as many with the default policies",
        how=f"happy-path with {settings}, {rounds[0].sizes.tiny} seeds a round, "
        "processor time, world and checks included",
    )


def cold(rounds: Sequence[Round]) -> tuple[Figure, Figure]:
    """Two commands in a new process each."""
    return (
        _cold("lab --help", [(one.help_s, one.bare_s) for one in rounds], 0.25),
        _cold("lab run happy-path", [(one.run_s, one.bare_s) for one in rounds], 1.0),
    )


def _cold(command: str, pairs: Sequence[tuple[float, float]], limit: float) -> Figure:
    return make_figure(
        f"{command}, cold",
        pairs,
        unit="s",
        against="an interpreter that does nothing",
        goal=at_most(limit, of="value"),
        how="wall time of a new process, compiled files there",
    )


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
        how=f"{RATE:g} orders a second, a process for each run; processor time in its own hops",
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
