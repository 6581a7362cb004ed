"""`lab run`: one scenario under one seed or many, and its verdict. `lab chaos` ends here too.

Not here: how a run is made (`engine`), how it looks (`render`).
"""

from lab.cli import options, report
from lab.cli import runs as engine
from lab.cli.exit_codes import ExitCode, code_of, worst
from lab.cli.flag_values import flags_of
from lab.cli.output import check_file, put, tell, write_file


def run(
    scenario: options.ScenarioName = None,
    *,
    real: options.Real = False,
    bus: options.Bus = None,
    store: options.Store = None,
    dedupe: options.DedupeMake = None,
    wall_clock: options.WallClock = False,
    keep: options.Keep = False,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    orders: options.Orders = None,
    rate: options.Rate = None,
    orders_from: options.OrdersFrom = None,
    speed: options.Speed = None,
    fault: options.Faults = None,
    off: options.Off = None,
    set_: options.Set = None,
    only: options.Only = None,
    scenarios: options.Scenarios = None,
    out: options.Out = None,
    history: options.History = None,
    beyond_contract: options.BeyondContract = False,
    html: options.Html = None,
    junit: options.Junit = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> int:
    """Run one scenario and print which promises held.

    Exit code: 0 PASS, 1 FAIL, 2 wrong usage, 3 UNKNOWN, 4 a server is
    missing, 70 a mistake of the lab, 130 interrupted.

    A flag goes before its variable (LAB_SEED, LAB_ORDERS, LAB_OFF, LAB_SET_RETRY_ATTEMPTS_MAX,
    ...), and that before the scenario.
    """
    # Exactly the parameters: nothing else is known yet.
    flags = flags_of(locals())
    asked = options.ask(scenario or "", flags)
    if not scenario:
        return _name_one(asked)
    return run_asked(asked)


def run_asked(asked: options.Asked) -> int:
    """Run what was asked for, print what was found, and return the exit code."""
    check_file(asked.html)
    check_file(asked.junit)
    if asked.seeds is not None:
        return _run_seeds(asked, options.parse_seeds(asked.seeds))
    return _run_one(asked)


def _name_one(asked: options.Asked) -> int:
    """Nothing to run: show what there is, beside the result that is missing."""
    from lab.cli.list_ import scenario_lines

    tell("lab: name a scenario to run: lab run NAME. There are:\n")
    tell(scenario_lines(asked).rstrip())
    return ExitCode.USAGE


def _run_one(asked: options.Asked) -> int:
    from lab.cli import render
    from lab.report.result import encode_result

    watch = report.counting() if asked.html is not None else None
    with render.ProgressBar(asked.scenario, is_wanted=not (asked.quiet or asked.json)) as told:
        result = engine.run_one(asked, told, watch)
    if asked.json:
        put(encode_result(result))
    else:
        width = render.width_of_output()
        page = (
            [render.headline(result, width=width)]
            if asked.quiet
            else render.result_page(result, width=width)
        )
        put(render.to_text(page, width=width, is_plain=asked.no_color))
    if asked.html is not None and watch is not None:
        report.write_html(asked.html, result, watch)
    if asked.junit is not None:
        from lab.report.junit import junit_of_run

        write_file(asked.junit, junit_of_run(result))
    return code_of(result.verdict, is_partial=result.partial)


def _run_seeds(asked: options.Asked, seeds: tuple[int, ...]) -> int:
    """Run them one after the other; an interrupted one ends the row and is left out."""
    from lab.cli import render
    from lab.report.seeds import SeedRun, encode_seeds, sum_up

    runs: list[SeedRun] = []
    with render.ProgressBar(asked.scenario, is_wanted=not (asked.quiet or asked.json)) as told:
        try:
            for run in engine.run_seeds(asked, seeds, out=asked.out):
                runs.append(run)
                if told is not None:
                    told(len(runs), len(seeds), "seeds")
        except KeyboardInterrupt:
            pass
    is_partial = len(runs) < len(seeds)
    summary = sum_up(
        asked.scenario,
        runs,
        mode=engine.world_of(asked),
        seeds=len(seeds),
        is_partial=is_partial,
    )
    if asked.json:
        put(encode_seeds(summary))
    else:
        shown = [one for one in runs if one.verdict != "PASS" or not asked.quiet]
        page = [*map(render.seed_line, shown), *render.seeds_summary(summary)]
        width = render.width_of_output()
        put(render.to_text(page, width=width, is_plain=asked.no_color))
    if asked.junit is not None:
        from lab.report.junit import junit_of_seeds

        write_file(asked.junit, junit_of_seeds(summary))
    codes = [code_of(one.verdict, is_partial=False) for one in runs]
    return ExitCode.INTERRUPTED if is_partial else worst(codes)
