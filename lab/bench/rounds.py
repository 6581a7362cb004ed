"""A round: every measurement of the bench once, next to its baseline.

The clock and the neighbours of a machine drift over a whole round; so values and baselines are
taken in turns and compared within one round. Not here: the meaning of the numbers
(`simulated_figures`, `asked_figures`).
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from statistics import median
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from lab.bench import load
from lab.bench.baselines.bare_start import start_s
from lab.bench.baselines.queue_events import queue_event_us
from lab.bench.baselines.queue_hop import HOPS, hop_us
from lab.bench.baselines.skeleton import skeleton_us
from lab.bench.memory_bus import BURST, bus_event_us
from lab.bench.pattern_costs import PatternCost, cost_of
from lab.bench.sample_orders import make_payload
from lab.bench.step_count import count_steps
from lab.patterns import NAMES
from lab.wiring.many_runs import SMALL

OnProgress = Callable[[int, int, str], None]
"""Called with (measurements done, all of them or 0, name of the one that begins)."""

R = TypeVar("R")

ROUNDS_MAX: Final = 1_000
_WARM_UP: Final = 20

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "order": ("order_us",),
    "core": ("core_us", "skeleton_us"),
    "chaos": ("order_us", "chaos_us"),
    "pace": ("paced_s",),
    "seeds": ("short_seeds", "short_calm", "long_seeds", "long_calm"),
    "runs": ("tiny_runs", "tiny_default", "order_us"),
    "bus": ("bus_us", "queue_us"),
    "cold": ("bare_s", "help_s", "run_s"),
    "latency": ("order_us",),
    "patterns": ("patterns",),
}
"""The fields of a round that each part is made of; a part that is not here has no rounds."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is run for each measurement.

    Attributes:
        orders: of the runs that are timed.
        pace: orders a second of the run that is compared with real time.
        short, long: orders of the runs under many seeds.
        runs: of those, each round.
        tiny: runs of one order, each round.
        events: on the bus in memory.
        without: orders of each run without a pattern.
        counted: of each run without a pattern whose calls are counted.
        grow: orders of the long runs: the baseline, half-way, the end.
        ladder: orders of the runs of growing size, the smallest first.
    """

    hops: int = HOPS
    orders: int = 500
    pace: float = 10.0
    short: int = 20
    long: int = 100
    runs: int = 2
    tiny: int = 50
    events: int = 5_000
    without: int = 200
    counted: int = 50
    grow: tuple[int, int, int] = (10_000, 50_000, 100_000)
    ladder: tuple[int, ...] = (1_000, 5_000, 20_000)


DEFAULT: Final = Sizes()


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of one round; 0 is one that nobody asked for.

    Attributes:
        hop_us: median of those taken between the others.
        order_us, core_us, chaos_us: processor time of one order: with history and checks, without
            them, with them under faults.
        skeleton_us: of an order that does nothing, with the steps and timers of one that does.
        steps, timers: handles that the loop takes for an order, and how many of them are timers.
        paced_s: wall time of a run whose orders come at `sizes.pace` a second.
        short_seeds, long_seeds: runs of `crashes` a second.
        short_calm, long_calm: runs of the happy path a second, as many orders.
        tiny_runs, tiny_default: runs of one order a second of processor time: with the policies of
            small runs, with the defaults.
        bus_us, queue_us: processor time of one event on the bus in memory, and on a bare queue.
        bare_s, help_s, run_s: wall time of a new process: a bare one, and two commands.
        patterns: the cost of each pattern, by its name.
    """

    sizes: Sizes
    hop_us: float
    order_us: float = 0.0
    core_us: float = 0.0
    chaos_us: float = 0.0
    skeleton_us: float = 0.0
    steps: float = 0.0
    timers: float = 0.0
    paced_s: float = 0.0
    short_seeds: float = 0.0
    short_calm: float = 0.0
    long_seeds: float = 0.0
    long_calm: float = 0.0
    tiny_runs: float = 0.0
    tiny_default: float = 0.0
    bus_us: float = 0.0
    queue_us: float = 0.0
    bare_s: float = 0.0
    help_s: float = 0.0
    run_s: float = 0.0
    patterns: Mapping[str, PatternCost] = {}


class Progress:
    """Counts measurements.

    Args:
        total: how many there will be; 0: nobody knows.
        on_progress: told of each one that begins; None: nobody is.
    """

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._total = total
        self._on_progress = on_progress
        self._done = 0

    def begin(self, measurement: str) -> None:
        """The next measurement begins."""
        if self._on_progress is not None:
            self._on_progress(self._done, self._total, measurement)
        self._done += 1


def take_rounds(
    take: Callable[[], R],
    *,
    rounds: int,
    duration_s: float | None = None,
    clock_s: Callable[[], float] = time.monotonic,
) -> list[R]:
    """The rounds of a bench, at least one.

    Args:
        take: takes one.
        rounds: so many without a `duration_s`.
        duration_s: as many as fit into so much time, if each takes as long as those before it.
        clock_s: tells the time.
    """
    begin_s = clock_s()
    taken = [take()]
    while len(taken) < (rounds if duration_s is None else ROUNDS_MAX):
        spent_s = clock_s() - begin_s
        if duration_s is not None and spent_s + spent_s / len(taken) > duration_s:
            break
        taken.append(take())
    return taken


class Given(NamedTuple):
    """What a measurement is told: see `Sizes` and `Round`."""

    sizes: Sizes
    first_seed: int
    steps: float
    timers: float


Measure = Callable[[Given], float]


class Rounds:
    """Takes one round after the other, each with other seeds for the runs that have many.

    Args:
        parts: names of those to measure; see `FIELDS`.
        sizes: see `Sizes`.
        on_progress: see `Progress`.
        rounds: how many there will be; 0: nobody knows.
    """

    def __init__(
        self, parts: Iterable[str], sizes: Sizes, *, rounds: int, on_progress: OnProgress | None
    ) -> None:
        self._sizes = sizes
        wanted = {field for part in parts for field in FIELDS.get(part, ())}
        self._wanted = [field for field in (*_MEASURED, _PATTERNS) if field in wanted]
        count = max(sum(map(_count, self._wanted)), 1)
        self._progress = Progress(rounds * count, on_progress)
        self._taken = 0
        self._hops: list[float] = []
        # Everything that is made at first use is made now.
        self._steps, self._timers = 0.0, 0.0
        if "skeleton_us" in wanted:
            self._steps, self._timers = count_steps(min(sizes.orders, 200))
        elif wanted:
            load.run_core(min(sizes.orders, _WARM_UP))

    def take(self) -> Round:
        """Measure everything that is wanted once.

        Raises:
            BenchError: a run did not do its work.
            subprocess.CalledProcessError: a command did not.
        """
        self._hops.clear()
        # A round in which nothing is wanted has its hop all the same.
        found = {field: self._measure(field) for field in self._wanted} or self._timed("hop", dict)
        self._taken += 1
        return Round(
            sizes=self._sizes,
            steps=self._steps,
            timers=self._timers,
            hop_us=median(self._hops),
            **found,
        )

    def _measure(self, field: str) -> Any:
        sizes = self._sizes
        if field == _PATTERNS:
            return {
                name: self._timed(f"without {name}", partial(cost_of, name, sizes.without))
                for name in NAMES
            }
        name, measure = _MEASURED[field]
        first_seed = 1 + self._taken * sizes.runs
        given = Given(sizes, first_seed, self._steps, self._timers)
        return self._timed(name, lambda: measure(given))

    def _timed(self, measurement: str, measure: Callable[[], R]) -> R:
        """One measurement, with a hop before it."""
        self._progress.begin(measurement)
        self._hops.append(hop_us(self._sizes.hops))
        return measure()


def _count(field: str) -> int:
    return len(NAMES) if field == _PATTERNS else 1


def _skeleton(given: Given) -> float:
    return skeleton_us(given.sizes.orders, steps=round(given.steps), timers=round(given.timers))


def _seeds(scenario: str, *, is_long: bool) -> Measure:
    """Whole runs a second under the seeds of the round."""

    def measure(given: Given) -> float:
        sizes = given.sizes
        orders = sizes.long if is_long else sizes.short
        return load.runs_a_second(
            scenario, orders=orders, runs=sizes.runs, first_seed=given.first_seed
        )

    return measure


def _tiny(settings: Mapping[str, object]) -> Measure:
    return lambda given: load.tiny_runs_a_second(settings, runs=given.sizes.tiny)


def _run_cold(_given: Given) -> float:
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        return start_s(("-m", "lab", "run", load.LOAD, "--out", folder))


_PATTERNS: Final = "patterns"
_MEASURED: Final[Mapping[str, tuple[str, Measure]]] = {
    "order_us": ("order", lambda given: load.order_us(given.sizes.orders, observe=True)),
    "core_us": ("core", lambda given: load.order_us(given.sizes.orders, observe=False)),
    "skeleton_us": ("skeleton", _skeleton),
    "chaos_us": (
        "chaos",
        lambda given: load.order_us(given.sizes.orders, observe=True, faults=load.CHAOS),
    ),
    "paced_s": ("pace", lambda given: load.paced_s(given.sizes.orders, given.sizes.pace)),
    "short_seeds": ("seeds", _seeds(load.SEEDED, is_long=False)),
    "short_calm": ("seeds", _seeds(load.LOAD, is_long=False)),
    "long_seeds": ("seeds", _seeds(load.SEEDED, is_long=True)),
    "long_calm": ("seeds", _seeds(load.LOAD, is_long=True)),
    "tiny_runs": ("tiny runs", _tiny(SMALL)),
    "tiny_default": ("tiny runs", _tiny({})),
    "bus_us": ("bus", lambda given: bus_event_us(given.sizes.events)),
    "queue_us": (
        "queue",
        lambda given: queue_event_us(make_payload, given.sizes.events, burst=BURST),
    ),
    "bare_s": ("cold start", lambda _: start_s()),
    "help_s": ("cold start", lambda _: start_s(("-m", "lab", "--help"))),
    "run_s": ("cold start", _run_cold),
}
"""The fields of a round in the order of their measurement: baselines stand beside their values."""
