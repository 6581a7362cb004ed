"""Random policies within their documented bounds: accepted ones never break a promise.

    python -m tests.policies --seeds 1-2000 --jobs 2

Each seed draws some of the policies of `lab list --settings`, most of them near their default and
some anywhere within their bounds, and runs a few orders, once in peace and once under one fault. A
policy that contradicts those drawn before is refused by the settings, and left out. Prints each
seed that broke a promise or raised, with the line that repeats it. Exit code 1 if there is one.
Not collected by pytest: it takes an hour. `tests/sim/test_policies.py` has a few seeds.
"""

import argparse
import math
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from lab.faults.table.spec import FaultError
from lab.runtime.chance import KeyedChance
from lab.scenarios.loader import ScenarioError
from lab.scenarios.run_options import RunOptions
from lab.scenarios.swarm import draw_swarm
from lab.settings import SIMULATED, SettingError, settings_for
from lab.settings_table import SETTINGS, Setting
from lab.wiring.outcome import make_result
from lab.wiring.spec import BEYOND, RunSpec, make_spec
from lab.wiring.workload import make_workload
from lab.wiring.worlds.simulated_run import simulate
from tests.soak import tell

SCENARIO: Final = "happy-path"
ORDERS: Final = 6
SEEDS_A_PROCESS: Final = 50
HUNG_AFTER_S: Final = 120

_SHARES: Final = (0.05, 0.2, 0.5)
"""How much of the table a seed draws: what is left out matters as much as what is drawn."""

_NEAR: Final = 0.8
_TIMES: Final = 10.0

WEAK: Final = (*BEYOND, ("dedupe.phases", 1))
"""Values that stand for a weak part: they are there to break a promise."""

MOST: Final[Mapping[str, float]] = {
    "bus.partitions": 64,
    "outbox.shards": 64,
    "run.members": 4,
    "bus.workers": 200,
}
"""More of these costs time and finds nothing else: each is a task, a row or a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run of a seed: its verdict, its broken promises with witnesses, how to repeat it."""

    seed: int
    verdict: str
    broken: Mapping[str, str]
    reproduce: str


def draw_policy(seed: int) -> dict[str, object]:
    """Policies of one seed, as `--set` takes them; together they are accepted."""
    chance = KeyedChance(seed)
    share = chance.choice(_SHARES, "policies", "share")
    names = sorted(SETTINGS, key=lambda one: chance.u("policies", one.name, "turn"))
    chosen: dict[str, object] = {}
    for setting in names:
        if chance.u("policies", setting.name) >= share:
            continue
        value = _draw(chance, setting)
        if (setting.name, value) in WEAK:
            continue
        try:
            settings_for(SIMULATED).with_changes({**chosen, setting.name: value})
        except SettingError:
            continue
        chosen[setting.name] = value
    return chosen


def make_policy_spec(seed: int, *, under_fault: bool) -> RunSpec:
    """The run of a seed."""
    drawn = draw_swarm(seed, SIMULATED).faults
    faults = (KeyedChance(seed).choice(drawn, "policies", "fault"),) if under_fault else ()
    try:
        return _spec(seed, faults)
    except (FaultError, ScenarioError, SettingError):
        # A fault of a member or broker that this policy does not have, or beyond its tolerance.
        return _spec(seed, ())


def _spec(seed: int, faults: tuple[str, ...]) -> RunSpec:
    return make_spec(
        RunOptions(
            scenario=SCENARIO, seed=seed, orders=ORDERS, faults=faults, settings=draw_policy(seed)
        )
    )


def run_policy(spec: RunSpec) -> Ran:
    """Run it and judge it."""
    with closing(make_workload(spec)) as workload:
        result = make_result(simulate(spec, workload), ())
    return Ran(
        seed=spec.seed,
        verdict=result.verdict,
        broken={one.name: one.witness for one in result.checks if one.verdict == "FAIL"},
        reproduce=result.reproduce,
    )


def run_seed(seed: int) -> list[Ran]:
    """Both runs of a seed; a bad one with as few policies as it takes."""
    specs = [make_policy_spec(seed, under_fault=fault) for fault in (False, True)]
    found = [(spec, run_policy(spec)) for spec in specs]
    return [shrunk(spec, ran) if ran.broken else ran for spec, ran in found]


def shrunk(spec: RunSpec, bad: Ran) -> Ran:
    """The run of a bad spec, without every policy that its first broken promise does not need."""
    promise = next(iter(bad.broken))
    for name in spec.options.settings:
        fewer = {key: value for key, value in spec.options.settings.items() if key != name}
        try:
            tried = make_spec(replace(spec.options, settings=fewer))
        except SettingError:
            continue
        found = run_policy(tried)
        if promise in found.broken:
            spec, bad = tried, found
    return bad


def _draw(chance: KeyedChance, setting: Setting) -> object:
    default = setting.simulated
    if isinstance(default, str):
        return chance.choice(setting.choices, "policies", setting.name, "value")
    if isinstance(default, tuple):
        count = 1 + int(chance.u("policies", setting.name, "count") * 4)
        lengths = (_number(chance, setting, default[0], str(each)) for each in range(count))
        return ",".join(str(round(length)) for length in lengths)
    value = _number(chance, setting, default, "")
    return round(value) if isinstance(default, int) else value


def _number(chance: KeyedChance, setting: Setting, default: float, which: str) -> float:
    """A number within the bounds: as likely to double as to halve, near the default or anywhere."""
    low, high = setting.at_least, min(setting.at_most, MOST.get(setting.name, math.inf))
    u = chance.u("policies", setting.name, "value", which)
    if low == 0 and u < 1 / 10:
        return 0.0
    least = max(low, min(default or 1, 1) / 100)
    if chance.u("policies", setting.name, "near", which) < _NEAR:
        least, high = max(least, (default or 1) / _TIMES), min(high, (default or 1) * _TIMES)
    return min(max(least * math.pow(max(high, least) / least, u), low), high)


def main() -> int:
    """Run the seeds over all cores."""
    asked = argparse.ArgumentParser(prog="python -m tests.policies", description=__doc__)
    asked.add_argument("--seeds", default="1-2000", metavar="A-B")
    asked.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = asked.parse_args()
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    verdicts: Counter[str] = Counter()
    began = time.perf_counter()
    bad = 0
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(given.jobs, maxtasksperchild=SEEDS_A_PROCESS) as pool:
        runs = {seed: pool.apply_async(run_seed, (seed,)) for seed in seeds}
        for seed in seeds:
            try:
                found = runs.pop(seed).get(HUNG_AFTER_S)
            except Exception as error:  # noqa: BLE001 - a seed that raised is bad, and the next one runs
                bad += 1
                verdicts["ERROR"] += 1
                tell(f"seed {seed}: {type(error).__name__}: {error}")
                continue
            for ran in found:
                verdicts[ran.verdict] += 1
                bad += bool(ran.broken)
                for promise, witness in ran.broken.items():
                    tell(f"seed {seed}: {promise}: {witness}")
                if ran.broken:
                    tell(f"  {ran.reproduce}")
    took = time.perf_counter() - began
    told = ", ".join(f"{name} {count:,}" for name, count in sorted(verdicts.items()))
    tell(f"{len(seeds):,} policies: {told}; {len(seeds) / took:.1f} a second")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
