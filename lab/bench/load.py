"""Whole simulated runs, and the processor time or the wall time that they take.

A run that did not do its work is no measurement: every one is looked at before its time counts.
"""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Final

from lab.scenarios.run_options import RunOptions
from lab.wiring.many_runs import judged, with_seed
from lab.wiring.outcome import Ran
from lab.wiring.run import run
from lab.wiring.spec import make_spec
from lab.wiring.workload import make_workload
from lab.wiring.worlds.simulated_run import simulate

LOAD: Final = "happy-path"
SEEDED: Final = "crashes"
CHAOS: Final = (
    "bus.duplicate rate=0.05",
    "svc.timeout rate=0.01",
    "svc.error rate=0.01",
    "svc.hang_after_effect rate=0.01",
    "client.retry_same_key rate=0.02",
    "proc.crash@any rate=0.0005",
)
"""A bit of everything that goes wrong by itself: something hits about every fourth order."""


class BenchError(Exception):
    """A run that was to be measured did not do its work: its time would say nothing."""


def order_us(
    orders: int,
    *,
    observe: bool,
    faults: Sequence[str] = (),
    rate: float | None = None,
    off: Sequence[str] = (),
) -> float:
    """Microseconds of processor time of one order of the happy path.

    Set-up and tear-down are excluded by difference: a run of one order is taken off.

    Args:
        orders: how many the run has, at least 2.
        observe: with history and checks, or the core without.
        faults: injected besides.
        rate: orders a second of simulated time; None: the scenario's own.
        off: patterns that are switched off; a promise may fall then.
    """
    whole, alone = (
        _spent(
            RunOptions(
                scenario=LOAD, orders=count, faults=tuple(faults), rate=rate, off=tuple(off)
            ),
            time.process_time,
            observe=observe,
        )
        for count in (orders, 1)
    )
    return (whole - alone) / (orders - 1) * 1e6


def paced_s(orders: int, rate: float) -> float:
    """Wall seconds of a whole run, set-up included, whose orders come at `rate` a second."""
    return _spent(RunOptions(scenario=LOAD, orders=orders, rate=rate), time.perf_counter)


def runs_a_second(scenario: str, *, orders: int, runs: int, first_seed: int) -> float:
    """Whole runs of `scenario`, one after the other under a seed each, a wall second."""
    each = [
        RunOptions(scenario=scenario, orders=orders, seed=seed)
        for seed in range(first_seed, first_seed + runs)
    ]
    return runs / sum(_spent(options, time.perf_counter) for options in each)


def tiny_runs_a_second(settings: Mapping[str, object], *, runs: int) -> float:
    """Runs of one order of the happy path a second of processor time, of one prepared spec.

    A run pays for the garbage of the one before it, which is collected in its time.
    """
    spec = make_spec(RunOptions(scenario=LOAD, orders=1, settings=settings))
    _must_be_sound(judged(spec))
    start = time.process_time()
    for seed in range(1, runs + 1):
        judged(with_seed(spec, seed))
    return runs / (time.process_time() - start)


def metrics(orders: int) -> Mapping[str, float]:
    """The metrics of one run of the happy path."""
    return run(LOAD, orders=orders).metrics


def run_core(orders: int) -> None:
    """One run of the happy path without history and checks."""
    _spent(RunOptions(scenario=LOAD, orders=orders), time.process_time, observe=False)


def run_without(off: Sequence[str], orders: int) -> None:
    """One run of the happy path with history and checks, and without these patterns."""
    _spent(RunOptions(scenario=LOAD, orders=orders, off=tuple(off)), time.process_time)


def _spent(options: RunOptions, clock: Callable[[], float], *, observe: bool = True) -> float:
    """Seconds of one run by `clock`, its checks included; garbage of earlier ones is not."""
    spec = make_spec(options)
    gc.collect()
    start = clock()
    with closing(make_workload(spec)) as workload:
        ran = simulate(spec, workload, observe=observe)
    spent = clock() - start
    if ran.is_partial:
        raise KeyboardInterrupt
    _must_be_sound(ran, may_break=bool(options.off))
    return spent


def _must_be_sound(ran: Ran, *, may_break: bool = False) -> None:
    """Raise BenchError unless every order was answered and drained, and no promise broken.

    Without a pattern a promise may fall, also in peace: `may_break`. The work is done all the same.
    """
    run = f"{ran.spec.scenario.name} at seed {ran.spec.seed}"
    tally, is_drained = ran.tally, not any(ran.end.owed.values())
    if tally.accepted != ran.spec.orders or not is_drained:
        raise BenchError(
            f"{run}: {tally.accepted:,} of {ran.spec.orders:,} orders were accepted, and they "
            f"have {'' if is_drained else 'not '}all come to their end"
        )
    if may_break:
        return
    broken = [finding.name for finding in ran.findings if finding.verdict == "FAIL"]
    if broken:
        raise BenchError(f"{run}: {', '.join(broken)} did not hold, so its time says nothing")
