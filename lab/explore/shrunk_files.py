"""What is left of a plan that was shrunk: a scenario, a test, a kept run, and what was found.

The scenario says each fault that is left by name, so that it can be read, changed and kept in a
repository; where no text can say a fault, the plan of the kept run repeats it. Either is run before
it is told. Not here: shrinking (`shrinking`).
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from lab.checks.check import times
from lab.explore.shrinking import Shrinking
from lab.faults.plan.as_text import fault_of
from lab.faults.plan.file import Firing
from lab.report.result import Result
from lab.scenarios.loader import as_table, load_file
from lab.scenarios.scenario import Scenario
from lab.settings import settings_for
from lab.wiring.reproduce import as_value
from lab.wiring.run import run_spec
from lab.wiring.spec import RunSpec, make_spec

SHRUNK_SCHEMA_VERSION: Final = 1
NAME: Final = "shrunk"
SCENARIO_FILE: Final = "shrunk.toml"
TEST_FILE: Final = "test_shrunk.py"


class ShrunkPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The faults that are left."""

    firings: tuple[Firing, ...]


class Shrunk(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that was shrunk.

    Attributes:
        promise: the one that breaks, in the plan as in the smallest one.
        witness: of the smallest plan.
        orders, plan: what is left; orders_before, faults_before: what there was.
        runs: how many were made to find it.
        partial: interrupted, or ended by --max-runs: a smaller one may exist.
        files: the scenario and the test beside the kept run; null: nothing could be written.
        reproduce: the command that runs it again.
        run_dir: the kept run; null: it could not be kept.
        notes: sentences worth knowing.
    """

    schema_version: int
    promise: str
    witness: str
    seed: int
    orders: int
    plan: ShrunkPlan
    orders_before: int
    faults_before: int
    runs: int
    partial: bool
    files: tuple[str, ...] | None
    reproduce: str
    run_dir: str | None
    notes: tuple[str, ...]


def keep_shrunk(spec: RunSpec, shrinking: Shrinking, out: Path) -> Shrunk:
    """Run the smallest plan once more, keep that run, and write the scenario and the test.

    Args:
        spec: of the plan that was shrunk.
        shrinking: as far as it came.
        out: where folders of runs are kept.
    """
    small = shrinking.smallest
    table = _table(spec, shrinking)
    result, notes = None, []
    if table is not None:
        result = _run_scenario(spec, table, out)
        if not _breaks(result, small.finding.name):
            # A check may excuse, or a pattern do, something else where a fault was not asked for.
            result, table = None, None
    if result is None:
        notes.append("no scenario can say these faults; the plan of the kept run repeats them")
        result = run_spec(_explicit(spec, shrinking, out))
    files = None
    reproduce = f"lab replay {shlex.quote(result.run_dir)}" if result.run_dir else result.reproduce
    if result.run_dir is not None and table is not None:
        written = _write(spec, shrinking, table, Path(result.run_dir))
        if isinstance(written, str):
            notes.append(written)
        else:
            files = written
            reproduce = _command(spec, Path(files[0]))
    return Shrunk(
        schema_version=SHRUNK_SCHEMA_VERSION,
        promise=small.finding.name,
        witness=next(one.witness for one in result.checks if one.name == small.finding.name),
        seed=spec.seed,
        orders=small.orders,
        plan=ShrunkPlan(firings=small.firings),
        orders_before=shrinking.began.orders,
        faults_before=len(shrinking.began.firings),
        runs=shrinking.runs,
        partial=not shrinking.is_over,
        files=files,
        reproduce=reproduce,
        run_dir=result.run_dir,
        notes=tuple(notes),
    )


def _table(spec: RunSpec, shrinking: Shrinking) -> dict[str, object] | None:
    """The scenario as its file has it; None: a fault cannot be said."""
    small = shrinking.smallest
    faults = [fault_of(firing) for firing in small.firings]
    if None in faults or spec.orders_from:
        return None
    usual = settings_for(spec.settings.profile).values
    changed = {
        key: as_value(value) if isinstance(value, list | tuple) else value
        for key, value in spec.settings.values.items()
        if value != usual[key]
    }
    table: dict[str, object] = {
        "summary": f"{small.finding.name} breaks: {small.finding.witness}",
        "orders": small.orders,
        "rate": spec.rate,
        "faults": faults,
        "promises": [small.finding.name],
    }
    if spec.scenario.spike is not None:
        table["spike"] = str(spec.scenario.spike)
    if changed:
        table["set"] = changed
    return table


def _run_scenario(spec: RunSpec, table: Mapping[str, object], out: Path) -> Result:
    """A run of the scenario, kept."""
    known = {key: value for key, value in table.items() if key not in ("set", "spike", "faults")}
    scenario = Scenario(
        name=NAME,
        **known,  # type: ignore[arg-type]  # the keys of a file that are its fields too
        spike=spec.scenario.spike,
        faults=tuple(table["faults"]),  # type: ignore[arg-type]  # a list of texts
        settings=table.get("set", {}),  # type: ignore[arg-type]  # a table
    )
    options = replace(
        spec.options,
        scenario=replace(scenario, promises=(str(table["promises"][0]),)),  # type: ignore[index]  # a list
        orders=None,
        rate=None,
        faults=(),
        settings={},
        only=(),
        out=out,
    )
    return run_spec(make_spec(options))


def _explicit(spec: RunSpec, shrinking: Shrinking, out: Path) -> RunSpec:
    """The smallest plan as a run of its own."""
    small = shrinking.smallest
    options = replace(spec.options, orders=small.orders, only=(), out=out)
    scenario = replace(spec.scenario, goals=(), promises=(), compares=False)
    return replace(
        spec,
        options=options,
        scenario=scenario,
        orders=small.orders,
        explicit=small.firings,
        only=(),
    )


def _breaks(result: Result, promise: str) -> bool:
    return any(one.name == promise and one.verdict == "FAIL" for one in result.checks)


def _write(
    spec: RunSpec, shrinking: Shrinking, table: Mapping[str, object], folder: Path
) -> tuple[str, ...] | str:
    """Write the scenario and the test into the folder of the run; the error, if they cannot be."""
    scenario, test = folder / SCENARIO_FILE, folder / TEST_FILE
    try:
        scenario.write_text(as_table(NAME, table), encoding="utf-8")
        load_file(scenario)
        test.write_text(_test(spec, shrinking), encoding="utf-8")
    except OSError as bad:
        return f"cannot write {bad.filename}: {bad.strerror}"
    return str(scenario), str(test)


def _test(spec: RunSpec, shrinking: Shrinking) -> str:
    """A test that is red as long as the promise breaks."""
    small = shrinking.smallest
    name = small.finding.name
    given = [f'scenarios=[Path(__file__).with_name("{SCENARIO_FILE}")]', f"seed={spec.seed}"]
    if spec.off:
        given.append(f"off={list(spec.off)!r}".replace("'", '"'))
    if spec.beyond:
        given.append("beyond_contract=True")
    lines = "".join(f"        {one},\n" for one in (f'"{NAME}"', *given))
    size = f"{times(small.orders, 'order')}, {times(len(small.firings), 'fault')}"
    return (
        f'"""{name} in the smallest run that broke it: {size}."""\n\n'
        "from pathlib import Path\n\n"
        "from lab import run\n\n\n"
        f"def test_{name.replace('-', '_')}_holds() -> None:\n"
        f"    result = run(\n{lines}    )\n\n"
        '    broken = {one.name: one.witness for one in result.checks if one.verdict == "FAIL"}\n'
        f'    assert "{name}" not in broken, broken["{name}"]\n'
    )


def _command(spec: RunSpec, scenario: Path) -> str:
    words: Sequence[str] = (
        "lab",
        "run",
        NAME,
        "--scenarios",
        str(scenario),
        "--seed",
        str(spec.seed),
    )
    if spec.off:
        words = (*words, "--off", ",".join(spec.off))
    return shlex.join((*words, "--beyond-contract") if spec.beyond else words)
