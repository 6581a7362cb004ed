"""Many seeds of the scenario `everything`: no promise broken, no error, and everything reached.

    python -m tests.soak --seeds 1-20000 --orders 1-60 --jobs 2

With `--orders A-B` each seed draws how many orders it has: few orders meet a fault alone, many meet
each other. Prints each seed that broke a promise or raised, with the line that repeats it, then how
many seeds reached every kind of fault, every crash point and every retry topic. Exit code 1 if a
seed is bad, or if one of those was reached less often than `--least`.
Not collected by pytest: it takes hours. `tests/sim/test_swarm.py` has a few seeds.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

from lab.faults.table.crash_points import CRASH_POINTS
from lab.faults.table.kinds import KINDS
from lab.faults.table.spec import parse_fault
from lab.runtime.chance import KeyedChance
from lab.scenarios.loader import find_scenario, load_catalogue
from lab.scenarios.run_options import RunOptions
from lab.scenarios.scenario import Scenario
from lab.scenarios.swarm import CRASH, fault_names
from lab.settings import SIMULATED, settings_for
from lab.wiring.outcome import make_result
from lab.wiring.spec import make_spec
from lab.wiring.workload import make_workload
from lab.wiring.worlds.simulated_run import simulate

SCENARIO: Final = "everything"
SEEDS_A_PROCESS: Final = 100
"""Killed processes of a simulated world keep their memory; a worker ends after so many seeds."""

HUNG_AFTER_S: Final = 600
_LOOK_EVERY: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What one seed found.

    Attributes:
        broken: witnesses by promise.
        reached: what fired or was used, by its name in the table.
        asked: what the seed drew, by the same names.
    """

    seed: int
    verdict: str
    broken: dict[str, str]
    reached: tuple[str, ...]
    asked: tuple[str, ...]
    reproduce: str


def run_seed(seed: int, orders: int) -> Seed:
    """Run one seed, and look at what it reached."""
    spec = make_spec(RunOptions(scenario=_scenario(), seed=seed, orders=orders))
    with closing(make_workload(spec)) as workload:
        ran = simulate(spec, workload)
        result = make_result(ran, ())
    assert ran.checker is not None
    reached = dict.fromkeys(
        name for firing in ran.plan.firings for name in _names(firing.kind, firing.site)
    )
    reached |= dict.fromkeys(map(_tier, sorted(ran.checker.acted.tiers)))
    assert spec.drawn is not None
    asked = [parse_fault(text) for text in spec.drawn.faults]
    return Seed(
        seed=seed,
        verdict=result.verdict,
        broken={one.name: one.witness for one in result.checks if one.verdict == "FAIL"},
        reached=tuple(reached),
        asked=tuple(
            dict.fromkeys(
                name
                for fault in asked
                for name in _names(fault.kind, fault.sites[0] if fault.sites else "")
            )
        ),
        reproduce=result.reproduce,
    )


def orders_of(seed: int, orders: str) -> int:
    """How many orders a seed has: `orders` is a number, or the least and the most, as `1-60`."""
    least, _, most = orders.partition("-")
    return KeyedChance(seed).integer(int(least), int(most or least), "soak", "orders")


def table_names() -> tuple[str, ...]:
    """Everything that has to be reached."""
    tiers = settings_for(SIMULATED).many_us("retry.tiers_ms")
    points = [f"{CRASH}@{point}" for point in CRASH_POINTS]
    kinds = [name for name in fault_names(SIMULATED) if name in KINDS]
    return (*kinds, *points, *(_tier(number) for number in range(1, len(tiers) + 1)))


@cache
def _scenario() -> Scenario:
    return find_scenario(load_catalogue(), SCENARIO)


def _names(kind: str, site: str) -> Iterator[str]:
    yield kind
    if kind == CRASH and site in CRASH_POINTS:
        yield f"{kind}@{site}"


def _tier(number: int) -> str:
    return f"retry topic, tier {number}"


def tell(line: str) -> None:
    """Print it at once: a soak takes hours, and its output goes to a file."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Tally:
    """Adds seeds up and prints what has to be said at once."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.reached: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.bad = 0

    def add(self, found: Seed) -> None:
        """One seed has run."""
        self.verdicts[found.verdict] += 1
        self.reached.update(found.reached)
        self.asked.update(found.asked)
        if found.broken:
            self.bad += 1
            for promise, witness in found.broken.items():
                tell(f"seed {found.seed}: {promise}: {witness}")
            tell(f"  {found.reproduce}")

    def failed(self, seed: int, orders: str, why: str) -> None:
        """One seed has raised, or did not come to its end."""
        self.bad += 1
        self.verdicts["ERROR"] += 1
        tell(f"seed {seed}: {why}")
        tell(f"  lab run {SCENARIO} --seed {seed} --orders {orders_of(seed, orders)}")

    def table(self) -> Iterator[str]:
        """How many seeds reached what, and how many had drawn it."""
        names = table_names()
        width = max(map(len, names))
        yield f"{'reached'.ljust(width)}  {'seeds':>7}  {'drew it':>7}"
        for name in names:
            asked = f"{self.asked[name]:,}" if name in self.asked else ""
            yield f"{name.ljust(width)}  {self.reached[name]:>7,}  {asked:>7}"


def _keep(errors: dict[int, str], seed: int, error: BaseException) -> None:
    errors[seed] = f"{type(error).__name__}: {error}"


def main() -> int:
    """Run the seeds over all cores."""
    asked = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    asked.add_argument("--seeds", default="1-20000", metavar="A-B")
    asked.add_argument("--orders", default="20", metavar="N|A-B")
    asked.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked.add_argument("--least", type=int, default=20, help="how often everything is reached")
    given = asked.parse_args()
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    tally, began = Tally(), time.perf_counter()
    errors: dict[int, str] = {}
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(given.jobs, maxtasksperchild=SEEDS_A_PROCESS) as pool:
        runs = {
            seed: pool.apply_async(
                run_seed,
                (seed, orders_of(seed, given.orders)),
                error_callback=partial(_keep, errors, seed),
            )
            for seed in seeds
        }
        for seed in seeds:
            run = runs.pop(seed)
            run.wait(HUNG_AFTER_S)
            if not run.ready():
                tally.failed(seed, given.orders, f"no end after {HUNG_AFTER_S} s")
            elif run.successful():
                tally.add(run.get())
            else:
                tally.failed(seed, given.orders, errors[seed])
            if (seed - seeds[0] + 1) % _LOOK_EVERY == 0:
                took = time.perf_counter() - began
                sys.stderr.write(f"until seed {seed:,} in {took:,.0f} s\n")
    for line in tally.table():
        tell(line)
    rare = [name for name in table_names() if tally.reached[name] < given.least]
    took = time.perf_counter() - began
    verdicts = ", ".join(f"{name} {count:,}" for name, count in sorted(tally.verdicts.items()))
    told = f"{len(seeds):,} seeds of {given.orders} orders: {verdicts}"
    tell(f"{told}; {len(seeds) / took:.1f} a second")
    if rare:
        tell(f"reached by fewer than {given.least} seeds: {', '.join(rare)}")
    return 1 if tally.bad or rare else 0


if __name__ == "__main__":
    sys.exit(main())
