"""`lab shrink`: the fewest orders and faults that still break the promise of a kept run.

Not here: shrinking (`lab.explore.shrinking`), and the files (`lab.explore.shrunk_files`).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.output import print_result
from lab.cli.replay import RunOrPlan, find_plan
from lab.cli.stopping import ended_as_by_ctrl_c

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lab.explore.shrinking import Shrinking, Small
    from lab.explore.shrunk_files import Shrunk
    from lab.wiring.spec import RunSpec


def shrink(
    run: RunOrPlan = None,
    *,
    promise: Annotated[
        str | None,
        typer.Option(metavar="CHECK", help="The promise that is to break.  [the first that does]"),
    ] = None,
    max_runs: Annotated[
        str | None,
        typer.Option("--max-runs", metavar="N", help="End after so many runs.  [5000]"),
    ] = None,
    out: options.Out = None,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    no_color: options.NoColor = False,
) -> int:
    """Find the smallest plan that breaks the same promise; write a scenario and a test of it.

    The plan of a real run is shrunk in the simulator, if it breaks the promise there too. Ctrl-C
    keeps the smallest plan so far.

    Exit code: 0 it was shrunk, 2 wrong usage, or the plan breaks nothing in the simulator, 130
    interrupted: the smallest plan so far was kept.
    """
    from lab.cli import render
    from lab.explore.shrunk_files import keep_shrunk
    from lab.wiring.planned import simulated_spec_of
    from lab.wiring.replay import plan_of

    values = FlagValues()
    place = Path(values.text_or("out", out, str(options.DEFAULT_OUT)))
    is_json, is_plain = values.switch("json", flag=json), values.switch("no-color", flag=no_color)
    runs_max = values.whole("max-runs", max_runs)
    if runs_max == 0:
        raise OptionError("--max-runs must be 1 or more, not 0")
    path, plan = plan_of(find_plan(run, place))
    spec = simulated_spec_of(path, plan)
    is_wanted = not (is_json or values.switch("quiet", flag=quiet))
    shrinking, is_cut = _shrink(
        spec, values.text("promise", promise), runs_max, is_wanted=is_wanted
    )
    shrunk = keep_shrunk(spec, shrinking, place)
    if is_json:
        from msgspec import json as as_json

        print_result(as_json.format(as_json.encode(shrunk), indent=2) + b"\n")
    else:
        width = render.width_of_output()
        print_result(render.to_text(_page(shrunk), width=width, is_plain=is_plain))
    return ExitCode.INTERRUPTED if is_cut else ExitCode.PASS


def _shrink(
    spec: "RunSpec", promise: str | None, runs_max: int | None, *, is_wanted: bool
) -> "tuple[Shrinking, bool]":
    """Shrink with a bar; whether Ctrl-C ended it."""
    from lab.checks.check import times
    from lab.cli import render
    from lab.explore.shrinking import RUNS_MAX, Shrinking

    with render.ProgressBar("shrink", is_wanted=is_wanted) as bar, ended_as_by_ctrl_c():

        def told(smallest: "Small", runs: int) -> None:
            if bar is not None:
                found = (
                    f"{times(smallest.orders, 'order')}, {times(len(smallest.firings), 'fault')}"
                )
                bar(runs, None, f"runs, {found}")

        shrinking = Shrinking(spec, promise)
        try:
            shrinking.run(runs_max=runs_max or RUNS_MAX, told=told)
        except KeyboardInterrupt:
            return shrinking, True
    return shrinking, False


def _page(shrunk: "Shrunk") -> "Iterable[RenderableType]":
    from lab.checks.check import times
    from lab.cli import render
    from lab.faults.plan.as_text import fault_of

    left, faults = times(shrunk.orders, "order"), len(shrunk.plan.firings)
    yield render.verdict_line(
        f"{shrunk.promise}   seed {shrunk.seed}   {left}, {times(faults, 'fault')}", "FAIL", ""
    )
    before = f"{times(shrunk.orders_before, 'order')}, {times(shrunk.faults_before, 'fault')}"
    how = "ended early, a smaller one may exist" if shrunk.partial else "nothing more can go"
    rows = [("Before", before), ("Made", f"{times(shrunk.runs, 'run')}; {how}")]
    rows += [
        ("Fault", fault_of(firing) or f"{firing.kind}@{firing.site}")
        for firing in shrunk.plan.firings
    ]
    rows.append(("Witness", shrunk.witness))
    rows += [("Note", note) for note in shrunk.notes]
    rows += [("Wrote", file) for file in shrunk.files or ()]
    if shrunk.run_dir is not None:
        rows.append(("Files", shrunk.run_dir))
    yield render.labelled(rows)
    yield from render.command_lines("Again", [shrunk.reproduce])
