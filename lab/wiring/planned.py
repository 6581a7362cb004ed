"""A run as its plan names it: everything that was asked for, and what came out.

So `plan.json` alone is enough to run it again. Not here: running it (`replay`), and the firings
(`lab.faults.plan.file`).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from lab.faults.plan.file import PlanError, PlanFile, PlannedRun
from lab.faults.plan.plan import FaultPlan
from lab.history.recorder import Now, Write
from lab.ports.chance import Chance
from lab.report.result import Result
from lab.scenarios.run_options import RunOptions
from lab.scenarios.scenario import Scenario
from lab.wiring.spec import RunSpec, make_spec


def fault_plan(spec: RunSpec, chance: Chance, now_us: Now, write: Write | None) -> FaultPlan:
    """The faults of a run: by coins, or those of a recorded plan."""
    return spec.make_plan(
        spec.faults,
        seed=spec.seed,
        chance=chance,
        now_us=now_us,
        write=write,
        explicit=spec.explicit,
    )


def planned_run(spec: RunSpec, result: Result) -> PlannedRun:
    """What the plan of a run says of the run."""
    scenario = replace(spec.scenario, source=Path(spec.scenario.source).name)
    asked = replace(spec.options, scenario=scenario, out=None)
    # One that was cut off has no equal.
    is_over = not result.partial
    return PlannedRun(
        lab=result.versions.lab,
        options=msgspec.to_builtins(asked, enc_hook=_text),
        verdict=result.verdict if is_over else "",
        broken=tuple(check.name for check in result.checks if check.verdict == "FAIL"),
        digest=result.digest if is_over else "",
        entries=result.history_entries,
    )


def spec_of_plan(plan: PlanFile, *, out: Path | None = None) -> RunSpec:
    """The run that a plan asks for: its own options, and its firings instead of the coins.

    Args:
        plan: as it was read.
        out: where the files of the run go; None: nothing is written.

    Raises:
        PlanError: it names no run, or one that this version does not know.
        ScenarioError, SettingError, FaultError: what was asked for does not exist here.
    """
    if plan.run is None:
        raise PlanError("run: it names no run; take the plan of a kept run (lab list --runs)")
    try:
        options = msgspec.convert(plan.run.options, RunOptions, dec_hook=_path)
    except msgspec.ValidationError as bad:
        raise PlanError(f"run.options: {bad}") from None
    scenario = options.scenario
    if not isinstance(scenario, Scenario):
        raise PlanError(f"run.options.scenario: {scenario!r} is a name; the scenario is wanted")
    if options.orders_from == "-" or (options.orders_from is None and scenario.orders_from == "-"):
        raise PlanError(
            "run.options.orders_from: its orders came by standard input and are gone; keep them "
            "in a file and run that"
        )
    # What the same load costs without faults is told already.
    scenario = replace(scenario, compares=False)
    options = replace(options, scenario=scenario, seed=plan.seed, keep=False, out=out)
    return replace(make_spec(options), explicit=plan.firings)


def simulated_spec_of(path: Path, plan: PlanFile) -> RunSpec:
    """The same plan in the simulated world, whatever world its run was in; nothing is written.

    Raises:
        PlanError, ScenarioError, SettingError, FaultError: see `spec_of_plan`; the message of the
            first names the file.
    """
    try:
        spec = spec_of_plan(plan)
    except PlanError as bad:
        raise PlanError(f"{path}: {bad}") from None
    options = replace(
        spec.options, real=False, bus="memory", store="memory", dedupe="memory", wall_clock=False
    )
    return replace(make_spec(options), explicit=plan.firings)


def _text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{value!r} in the options of a run")


def _path(wanted: type, value: object) -> Any:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    if wanted is object:
        return value
    raise NotImplementedError(f"{wanted} in the options of a run")
