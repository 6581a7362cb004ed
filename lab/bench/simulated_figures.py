"""The figures of `lab bench`, each a pure function of the rounds.

Not here: measuring (`rounds`), figures that take minutes (`asked_figures`), and the class of a
figure (`figures`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import median
from typing import Any, Final

from lab.bench.asked_figures import growth, ladder, patterns
from lab.bench.figures import BenchGoal, Figure, at_least, at_most, make_figure, of_part
from lab.bench.long_run import LongRun
from lab.bench.memory_bus import BURST
from lab.bench.parts import SIMULATED, usual
from lab.bench.pattern_costs import PatternCalls, PatternCost
from lab.bench.rounds import Round, Sizes
from lab.patterns import NAMES
from lab.wiring.many_runs import SMALL

USUAL: Final = usual(SIMULATED)


def all_of(rounds: Sequence[Round], parts: Collection[str] = USUAL) -> tuple[Figure, ...]:
    """Every figure of these parts that is made of rounds, in the order in which they are shown."""
    made: Mapping[str, Callable[[Sequence[Round]], tuple[Figure, ...]]] = {
        "order": lambda rounds: (order(rounds),),
        "core": lambda rounds: (core(rounds), floor(rounds)),
        "chaos": lambda rounds: (chaos(rounds),),
        "pace": lambda rounds: (paced(rounds),),
        "seeds": seeds,
        "runs": runs,
        "bus": lambda rounds: (bus(rounds),),
        "cold": cold,
    }
    return tuple(
        figure
        for part, make in made.items()
        if part in parts
        for figure in of_part(part, make(rounds))
    )


def prototypes(sizes: Sizes, parts: Collection[str]) -> tuple[Figure, ...]:
    """The figures that these parts have: names, units and goals; the numbers are none."""
    ones: dict[str, Any] = dict.fromkeys(Round.__struct_fields__, 1.0) | {"sizes": sizes}
    ones["patterns"] = dict.fromkeys(NAMES, PatternCost(on_us=1.0, off_us=1.0))
    one = Round(**ones)
    calls = PatternCalls(on=2.0, off=dict.fromkeys(NAMES, 1.0))

    def run(count: int) -> LongRun:
        return LongRun(orders=count, order_us=1.0, hop_us=1.0, peak_kib=1)

    found = all_of([one], parts)
    if "growth" in parts:
        first, middle, last = map(run, sizes.grow)
        found += of_part("growth", growth([first], middle, last))
    if "patterns" in parts:
        found += of_part("patterns", patterns([one], calls))
    if "sizes" in parts:
        found += of_part("sizes", ladder([run(sizes.ladder[0])], list(map(run, sizes.ladder[1:]))))
    return found


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


def runs(rounds: Sequence[Round]) -> tuple[Figure, Figure]:
    """Runs of one order, one after the other in one process: how many, and what each costs."""
    settings = " ".join(f"{name}={value}" for name, value in SMALL.items())
    how = (
        f"happy-path with {settings}, {rounds[0].sizes.tiny} seeds a round, processor time, world "
        "and checks included"
    )
    return (
        make_figure(
            "runs a second, 1 order",
            [(one.tiny_runs, one.tiny_default) for one in rounds],
            unit="1/s",
            against="as many with the default policies",
            how=how,
        ),
        make_figure(
            "a run of 1 order",
            [(1e3 / one.tiny_runs, one.order_us / 1e3) for one in rounds],
            unit="ms",
            against=f"the share of one order in a run of {rounds[0].sizes.orders:,}: what is more "
            "is set-up",
            how="the same, by the run",
        ),
    )


def bus(rounds: Sequence[Round]) -> Figure:
    """The bus in memory beside the least that a bus can do."""
    return make_figure(
        "memory bus, events",
        [(1e6 / one.bus_us, 1e6 / one.queue_us) for one in rounds],
        unit="1/s",
        against="an asyncio.Queue: each event encoded by msgspec, put, taken and decoded",
        how=f"{rounds[0].sizes.events:,} events made, published by {BURST}, delivered in the order "
        "of their keys, decoded and committed; no pattern, no history; processor time",
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
