"""Many seeds of the scenario `everything`: no promise broken, no error, everything reached.

    python -m tests.soak --seeds 1-20000 --orders 1-60 --jobs 2

With `--orders A-B` each seed draws how many orders it has: few orders meet a fault alone, many meet
each other. With `--catalogue N` the first N seeds of every other scenario come before them.

Prints each run that broke a promise or raised, with the line that repeats it, then how many reached
what there is to reach (`tests/kit/reached.py`): states, transitions, topics, tiers, reasons of dead
letters, deeds of patterns, faults. Exit code 1 if a run is bad, or if something was reached less
often than `--least` that can be reached.
Not collected by pytest: it takes hours. A few seeds are in `tests/sim/test_swarm.py` and
`tests/sim/test_reached.py`.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Final

from lab.runtime.chance import KeyedChance
from lab.scenarios.loader import find_scenario, load_catalogue
from lab.scenarios.run_options import RunOptions
from lab.scenarios.scenario import Scenario
from lab.wiring.outcome import make_result
from lab.wiring.spec import make_spec
from lab.wiring.workload import make_workload
from lab.wiring.worlds.simulated_run import simulate
from tests.kit.reached import UNREACHABLE, Reached, all_names, names_of_faults

SCENARIO: Final = "everything"
SEEDS_A_PROCESS: Final = 100
"""A worker ends after so many seeds, so that one that went wrong spoils no more than these."""

HUNG_AFTER_S: Final = 600
_LOOK_EVERY: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one run found.

    Attributes:
        broken: witnesses by promise.
        reached: names of the table.
        asked: what was drawn, or asked for by the scenario, by the same names.
    """

    scenario: str
    seed: int
    verdict: str
    broken: dict[str, str]
    reached: tuple[str, ...]
    asked: tuple[str, ...]
    reproduce: str


def run_seed(seed: int, orders: int | None, scenario: str = SCENARIO) -> Found:
    """Run one seed, and look at what it reached; `orders` None: as many as the scenario has."""
    watch = Reached()
    options = RunOptions(scenario=_scenario(scenario), seed=seed, orders=orders)
    spec = replace(make_spec(options), watch=watch)
    with closing(make_workload(spec)) as workload:
        ran = simulate(spec, workload)
        result = make_result(ran, ())
    assert ran.checker is not None
    return Found(
        scenario=scenario,
        seed=seed,
        verdict=result.verdict,
        broken={one.name: one.witness for one in result.checks if one.verdict == "FAIL"},
        reached=watch.names(ran.checker.acted, ran.plan.firings),
        asked=names_of_faults(spec.faults),
        reproduce=result.reproduce,
    )


def orders_of(seed: int, orders: str) -> int:
    """How many orders a seed has: `orders` is a number, or the least and the most, as `1-60`."""
    least, _, most = orders.partition("-")
    return KeyedChance(seed).integer(int(least), int(most or least), "soak", "orders")


@cache
def _scenario(name: str) -> Scenario:
    return find_scenario(load_catalogue(), name)


def tell(line: str) -> None:
    """Print it at once: a soak takes hours, and its output goes to a file."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


Run = tuple[str, int, int | None]
"""Scenario, seed, and how many orders; None: as many as the scenario has."""


class Tally:
    """Adds seeds up and prints what has to be said at once."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.reached: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.bad = 0

    def add(self, found: Found) -> None:
        """One seed has run."""
        self.verdicts[found.verdict] += 1
        self.reached.update(found.reached)
        self.asked.update(found.asked)
        if found.broken:
            self.bad += 1
            for promise, witness in found.broken.items():
                tell(f"{found.scenario}, seed {found.seed}: {promise}: {witness}")
            tell(f"  {found.reproduce}")

    def failed(self, run: Run, why: str) -> None:
        """One run has raised, or did not come to its end."""
        scenario, seed, orders = run
        self.bad += 1
        self.verdicts["ERROR"] += 1
        tell(f"{scenario}, seed {seed}: {why}")
        tell(f"  lab run {scenario} --seed {seed}" + (f" --orders {orders}" if orders else ""))

    def table(self) -> Iterator[str]:
        """How many runs reached what, and how many had drawn it or were to meet it."""
        names = all_names()
        width = max(map(len, names))
        yield f"{'reached'.ljust(width)}  {'runs':>7}  {'drew it':>7}"
        for name in names:
            asked = f"{self.asked[name]:,}" if name in self.asked else ""
            why = f"  {UNREACHABLE[name]}" if name in UNREACHABLE else ""
            yield f"{name.ljust(width)}  {self.reached[name]:>7,}  {asked:>7}{why}"


def _keep(errors: dict[Run, str], run: Run, error: BaseException) -> None:
    errors[run] = f"{type(error).__name__}: {error}"


def _runs(seeds: range, orders: str, catalogue: int) -> list[Run]:
    """The runs of a soak, in their order."""
    others = [name for name in load_catalogue() if name != SCENARIO]
    runs: list[Run] = [(name, seed, None) for seed in range(1, catalogue + 1) for name in others]
    return runs + [(SCENARIO, seed, orders_of(seed, orders)) for seed in seeds]


def soak(runs: Sequence[Run], jobs: int) -> Tally:
    """Run them over so many processes; says how far it is on standard error."""
    tally, began = Tally(), time.perf_counter()
    errors: dict[Run, str] = {}
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(jobs, maxtasksperchild=SEEDS_A_PROCESS) as pool:
        begun = {
            run: pool.apply_async(
                run_seed, (run[1], run[2], run[0]), error_callback=partial(_keep, errors, run)
            )
            for run in runs
        }
        for number, run in enumerate(runs, start=1):
            scenario, seed, _ = run
            found = begun.pop(run)
            found.wait(HUNG_AFTER_S)
            if not found.ready():
                tally.failed(run, f"no end after {HUNG_AFTER_S} s")
            elif found.successful():
                tally.add(found.get())
            else:
                tally.failed(run, errors[run])
            if number % _LOOK_EVERY == 0:
                took = time.perf_counter() - began
                sys.stderr.write(f"until run {number:,} ({scenario} {seed}) in {took:,.0f} s\n")
    return tally


def main() -> int:
    """Run the seeds over all cores."""
    asked = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    asked.add_argument("--seeds", default="1-20000", metavar="A-B")
    asked.add_argument("--orders", default="20", metavar="N|A-B")
    asked.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked.add_argument("--least", type=int, default=20, help="how often everything is reached")
    asked.add_argument("--catalogue", type=int, default=0, help="seeds of every other scenario")
    given = asked.parse_args()
    first, _, last = given.seeds.partition("-")
    runs = _runs(range(int(first), int(last or first) + 1), given.orders, given.catalogue)
    began = time.perf_counter()
    tally = soak(runs, given.jobs)
    for line in tally.table():
        tell(line)
    can = [name for name in all_names() if name not in UNREACHABLE]
    rare = [name for name in can if tally.reached[name] < given.least]
    took = time.perf_counter() - began
    verdicts = ", ".join(f"{name} {count:,}" for name, count in sorted(tally.verdicts.items()))
    tell(f"{len(runs):,} runs: {verdicts}; {len(runs) / took:.1f} a second")
    if rare:
        tell(f"reached by fewer than {given.least} runs: {', '.join(rare)}")
    return 1 if tally.bad or rare else 0


if __name__ == "__main__":
    sys.exit(main())
