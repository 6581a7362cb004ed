"""`lab run`: one scenario under one seed or many, and its verdict. `lab chaos` ends here too.

Not here: making the runs (`runs`), and their looks (`render`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.cli import report, runs, ship
from lab.cli.exit_codes import ExitCode, code_of, worst
from lab.cli.list_ import prune
from lab.cli.options import (
    DEFAULT_OUT,
    Display,
    RunFlags,
    ScenarioName,
    parse_seeds,
    read_display,
    read_options,
)
from lab.cli.output import check_file, print_message, print_result, write_file

if TYPE_CHECKING:
    from lab.report.result import Result
    from lab.report.seeds import SeedRun
    from lab.scenarios.run_options import RunOptions


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Run(RunFlags):
    """Run one scenario and print which promises held.

    Exit code: 0 PASS, 1 FAIL, 2 wrong usage, 3 UNKNOWN, 4 a server is
    missing, 70 a mistake of the lab, 130 interrupted. With --ship a run that passed
    ends with 4 if it could not be shipped whole.

    A flag goes before its variable (LAB_SEED, LAB_ORDERS, LAB_OFF, LAB_SET_RETRY_ATTEMPTS_MAX,
    ...), and that before the scenario.
    """

    scenario: ScenarioName = None

    def execute(self) -> int:
        options, display = read_options(self.scenario or "", self), read_display(self)
        if not self.scenario:
            return ask_for_a_name("run", options.scenarios, display)
        return run_and_show(options, self.seeds, display)


def run_and_show(options: "RunOptions", seeds: str | None, display: Display) -> int:
    """Run a scenario once or under many seeds, print the result, and return the exit code.

    Args:
        options: of the run.
        seeds: as of `--seeds`: one run for each of them; None: one run under the options' seed.
        display: how the result is shown.
    """
    check_file(display.html)
    check_file(display.junit)
    if seeds is None:
        code = _run_one(options, display)
    else:
        code = _run_seeds(options, parse_seeds(seeds), display)
    prune(options.out or DEFAULT_OUT, display.keep_runs)
    return code


def ask_for_a_name(command: str, scenarios: Sequence[Path], display: Display) -> int:
    """Nothing to run: show the scenarios, beside the result that is missing."""
    from lab.cli.list_ import scenario_lines

    print_message(f"lab: name a scenario: lab {command} NAME. There are:\n")
    print_message(scenario_lines(scenarios, is_plain=display.no_color).rstrip())
    return ExitCode.USAGE


def _run_one(options: "RunOptions", display: Display) -> int:
    from lab.cli import render
    from lab.report.result import encode_result

    watch = report.counting() if display.html is not None else None
    with render.ProgressBar(runs.name_of(options), is_wanted=display.wants_progress) as on_progress:
        result = runs.run_one(options, on_progress, watch)
    if display.json:
        print_result(encode_result(result))
    else:
        width = render.width_of_output()
        page = (
            [render.headline(result, width=width)]
            if display.quiet
            else render.result_page(result, width=width, links=_links(result))
        )
        print_result(render.to_text(page, width=width, is_plain=display.no_color))
    if display.html is not None and watch is not None:
        report.write_html(display.html, result, watch)
    if display.junit is not None:
        from lab.report.junit import junit_of_run

        write_file(display.junit, junit_of_run(result))
    code = code_of(result.verdict, is_partial=result.partial)
    if display.ship and not ship.ship_result(result, is_quiet=not display.wants_progress):
        return code or ExitCode.NOT_READY
    return code


def _links(result: "Result") -> "Sequence[tuple[str, str]]":
    """Where Kibana shows the run."""
    if result.run_dir is None:
        return ()
    return ship.link_lines(ship.links_of(result, Path(result.run_dir)))


def _run_seeds(options: "RunOptions", seeds: Sequence[int], display: Display) -> int:
    """Run them one after the other; an interrupted one ends the row and is left out."""
    from lab.cli import render
    from lab.report.seeds import encode_seeds, sum_up

    done: list[SeedRun] = []
    with render.ProgressBar(runs.name_of(options), is_wanted=display.wants_progress) as on_progress:
        try:
            for run in runs.run_seeds(options, seeds):
                done.append(run)
                if on_progress is not None:
                    on_progress(len(done), len(seeds), "seeds")
        except KeyboardInterrupt:
            pass
    is_partial = len(done) < len(seeds)
    summary = sum_up(
        runs.name_of(options),
        done,
        mode=runs.mode_of(options),
        seeds=len(seeds),
        is_partial=is_partial,
    )
    if display.json:
        print_result(encode_seeds(summary))
    else:
        shown = [one for one in done if one.verdict != "PASS" or not display.quiet]
        page = [*map(render.seed_line, shown), *render.seeds_summary(summary)]
        width = render.width_of_output()
        print_result(render.to_text(page, width=width, is_plain=display.no_color))
    if display.junit is not None:
        from lab.report.junit import junit_of_seeds

        write_file(display.junit, junit_of_seeds(summary))
    codes = [code_of(one.verdict, is_partial=False) for one in done]
    return ExitCode.INTERRUPTED if is_partial else worst(codes)
