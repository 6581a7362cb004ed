"""`lab bench`: what one simulated order costs, beside raw baselines measured in the same run.

Not here: what is measured and how (`lab.bench`). A missed goal is shown, not an exit code: a busy
machine is no mistake of anybody.
"""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.output import put

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from lab.bench.bench import BenchReport
    from lab.bench.figures import Figure

_ROUNDS_MAX: Final = 1_000


def bench(
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Also runs of up to 100,000 orders; minutes more.")
    ] = False,
    rounds: Annotated[
        str | None,
        typer.Option("--rounds", metavar="N", help="How often each figure is measured.  [5]"),
    ] = None,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    no_color: options.NoColor = False,
) -> int:
    """Measure what an order costs, beside raw baselines.

    Simulated figures only, medians; the baselines are measured in the same run.
    """
    given = options.Given({"rounds": rounds, "json": json, "quiet": quiet, "no-color": no_color})
    times = given.whole("rounds")
    if times is not None and not 1 <= times <= _ROUNDS_MAX:
        raise options.OptionError(f"--rounds must be from 1 to {_ROUNDS_MAX:,}, not {times}")
    from lab.bench.bench import ROUNDS, encode_report, measure
    from lab.cli import render

    is_json = given.switch("json")
    with render.ProgressBar("bench", is_wanted=not (given.switch("quiet") or is_json)) as told:
        report = measure(full=full, rounds=ROUNDS if times is None else times, on_progress=told)
    if is_json:
        put(encode_report(report))
    else:
        width = render.width_of_output()
        is_plain = given.switch("no-color")
        put(render.to_text(_page(report), width=width, is_plain=is_plain))
    return ExitCode.PASS


def _page(report: "BenchReport") -> "Sequence[RenderableType]":
    from lab.cli import render
    from lab.cli.facts import length

    hop = f"{report.hop_us:.2f} us ({report.hop_us_low:.2f} to {report.hop_us_high:.2f})"
    titles = ["Figure", "Value", "Baseline", "Ratio", "Least to most", "Goal"]
    left_out = "" if report.full else "what grows with 100,000 orders: lab bench --full"
    machine = report.machine
    load = "" if machine.load_before is None else f", load {machine.load_before:g} before"
    return [
        "lab bench: simulated figures, medians; they compare on this machine, at this moment only",
        render.listing(titles, [_cells(figure) for figure in report.figures]),
        "",
        render.labelled(
            [(figure.name, f"{figure.how}; against {figure.against}") for figure in report.figures]
        ),
        "",
        render.labelled(
            [
                ("A hop", hop),
                ("Measured", f"{report.rounds} rounds in {length(report.wall_s * 1_000)}"),
                ("With", f"lab {report.lab}, {machine.python}"),
                ("On", f"{machine.processor}, {machine.cores} cores{load}"),
                *([("Left out", left_out)] if left_out else []),
            ]
        ),
    ]


def _cells(figure: "Figure") -> "list[str]":
    goal = ""
    if figure.goal is not None:
        sign = "<=" if figure.goal.bound == "at most" else ">="
        unit = f" {figure.unit}" if figure.goal.of == "value" else ""
        met = "reached" if figure.reached else "missed"
        goal = f"{sign} {figure.goal.limit:g}{unit} {met}"
    return [
        figure.name,
        f"{_short(figure.value)} {figure.unit}",
        f"{_short(figure.baseline)} {figure.unit}",
        _short(figure.ratio),
        f"{_short(figure.low)} to {_short(figure.high)}",
        goal,
    ]


def _short(number: float) -> str:
    """Three figures that matter, without an exponent."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}" if number >= 1 else f"{number:.3f}"
