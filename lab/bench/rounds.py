"""A round: every measurement of the bench once, next to its baseline.

The clock and the neighbours of a machine drift over a whole round; so values and baselines are
taken in turns and compared within one round. Not here: the meaning of the numbers
(`simulated_figures`).
"""

import tempfile
from collections.abc import Callable, Mapping
from statistics import median
from typing import Final

import msgspec

from lab.bench import load
from lab.bench.baselines.bare_start import start_s
from lab.bench.baselines.queue_hop import HOPS, hop_us
from lab.bench.baselines.skeleton import skeleton_us
from lab.bench.step_count import count_steps
from lab.wiring.many_runs import SMALL

OnProgress = Callable[[int, int, str], None]
"""Called with (measurements done, all of them, name of the one that begins)."""

_MEASUREMENTS: Final = 14


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is run for each measurement.

    Attributes:
        orders: of the runs that are timed.
        pace: orders a second of the run that is compared with real time.
        short, long: orders of the runs under many seeds.
        runs: of those, each round.
        tiny: runs of one order, each round.
        grow: orders of the long runs: the baseline, half-way, the end.
    """

    hops: int = HOPS
    orders: int = 500
    pace: float = 10.0
    short: int = 20
    long: int = 100
    runs: int = 2
    tiny: int = 50
    grow: tuple[int, int, int] = (10_000, 50_000, 100_000)


DEFAULT: Final = Sizes()


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of one round.

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
        bare_s, help_s, run_s: wall time of a new process: a bare one, and two commands.
    """

    sizes: Sizes
    hop_us: float
    order_us: float
    core_us: float
    chaos_us: float
    skeleton_us: float
    steps: float
    timers: float
    paced_s: float
    short_seeds: float
    short_calm: float
    long_seeds: float
    long_calm: float
    tiny_runs: float
    tiny_default: float
    bare_s: float
    help_s: float
    run_s: float


class Progress:
    """Counts measurements.

    Args:
        total: how many there will be.
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


class Rounds:
    """Takes one round after the other, each with other seeds for the runs that have many.

    Args:
        sizes: see `Sizes`.
        on_progress: see `Progress`.
        rounds: how many there will be.
    """

    def __init__(self, sizes: Sizes, *, rounds: int, on_progress: OnProgress | None) -> None:
        self._sizes = sizes
        self._progress = Progress(rounds * _MEASUREMENTS, on_progress)
        self._taken = 0
        self._hops: list[float] = []
        # Everything that is made at first use is made now, and counted once.
        self._steps, self._timers = count_steps(min(sizes.orders, 200))

    def take(self) -> Round:
        """Measure everything once.

        Raises:
            BenchError: a run did not do its work.
            subprocess.CalledProcessError: a command did not.
        """
        sizes, timed = self._sizes, self._timed
        orders, first_seed = sizes.orders, 1 + self._taken * sizes.runs
        self._hops.clear()
        self._taken += 1

        def seeds(scenario: str, count: int) -> float:
            return load.runs_a_second(
                scenario, orders=count, runs=sizes.runs, first_seed=first_seed
            )

        def tiny(settings: Mapping[str, object]) -> float:
            return load.tiny_runs_a_second(settings, runs=sizes.tiny)

        order_us = timed("order", lambda: load.order_us(orders, observe=True))
        core_us = timed("core", lambda: load.order_us(orders, observe=False))
        steps, timers = round(self._steps), round(self._timers)
        return Round(
            sizes=sizes,
            order_us=order_us,
            core_us=core_us,
            skeleton_us=timed("skeleton", lambda: skeleton_us(orders, steps=steps, timers=timers)),
            steps=self._steps,
            timers=self._timers,
            chaos_us=timed("chaos", lambda: load.order_us(orders, observe=True, faults=load.CHAOS)),
            paced_s=timed("pace", lambda: load.paced_s(orders, sizes.pace)),
            short_seeds=timed("seeds", lambda: seeds(load.SEEDED, sizes.short)),
            short_calm=timed("seeds", lambda: seeds(load.LOAD, sizes.short)),
            long_seeds=timed("seeds", lambda: seeds(load.SEEDED, sizes.long)),
            long_calm=timed("seeds", lambda: seeds(load.LOAD, sizes.long)),
            tiny_runs=timed("tiny runs", lambda: tiny(SMALL)),
            tiny_default=timed("tiny runs", lambda: tiny({})),
            bare_s=timed("cold start", start_s),
            help_s=timed("cold start", lambda: start_s(("-m", "lab", "--help"))),
            run_s=timed("cold start", _run_cold),
            hop_us=median(self._hops),
        )

    def _timed(self, measurement: str, measure: Callable[[], float]) -> float:
        """One measurement, with a hop before it."""
        self._progress.begin(measurement)
        self._hops.append(hop_us(self._sizes.hops))
        return measure()


def _run_cold() -> float:
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        return start_s(("-m", "lab", "run", load.LOAD, "--out", folder))
