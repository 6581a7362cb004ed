"""`lab bench`: the cost of a simulated order, or the speed of real adapters, beside raw baselines.

Not here: the measurements (`lab.bench`). A missed goal is shown, not an exit code: a busy
machine is no mistake of anybody.
"""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.output import print_result
from lab.cli.stopping import ended_as_by_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from lab.bench.figures import Figure
    from lab.bench.report import Report
    from lab.bench.rounds import OnProgress

_ROUNDS_MAX: Final = 1_000


def bench(
    *,
    real: Annotated[
        bool,
        typer.Option(
            "--real", help="Kafka, PostgreSQL, Redis and HTTP instead; needs the servers."
        ),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also runs of up to 100,000 orders; minutes more.")
    ] = False,
    rounds: Annotated[
        str | None,
        typer.Option(
            "--rounds", metavar="N", help="How often each figure is measured.  [5; --real: 3]"
        ),
    ] = None,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    no_color: options.NoColor = False,
) -> int:
    """Measure the cost of an order, beside raw baselines.

    Simulated figures, or those of real servers; medians. The baselines are measured in the same
    run. Exit code: 0 even if a goal is missed, 4 a server is missing.
    """
    values = FlagValues()
    times = values.whole("rounds", rounds)
    if times is not None and not 1 <= times <= _ROUNDS_MAX:
        raise OptionError(f"--rounds must be from 1 to {_ROUNDS_MAX:,}, not {times}")
    if real and full:
        raise OptionError("--full is of the simulated figures: leave it out with --real")
    from lab.bench.report import encode_report
    from lab.cli import render

    is_json, is_quiet = values.switch("json", flag=json), values.switch("quiet", flag=quiet)
    with render.ProgressBar("bench", is_wanted=not (is_quiet or is_json)) as on_progress:
        if real:
            report, page = _measure_real(times, on_progress)
        else:
            report, page = _measure_simulated(times, on_progress, full=full)
    if is_json:
        print_result(encode_report(report))
    else:
        width = render.width_of_output()
        print_result(
            render.to_text(page, width=width, is_plain=values.switch("no-color", flag=no_color))
        )
    return ExitCode.PASS


def _measure_simulated(
    rounds: int | None, on_progress: "OnProgress | None", *, full: bool
) -> "tuple[Report, Sequence[RenderableType]]":
    from lab.bench.bench import ROUNDS, measure

    report = measure(
        full=full, rounds=ROUNDS if rounds is None else rounds, on_progress=on_progress
    )
    hop = f"{report.hop_us:.2f} us ({report.hop_us_low:.2f} to {report.hop_us_high:.2f})"
    circumstances = [("A hop", hop), *_circumstances(report)]
    if not report.full:
        circumstances.append(("Left out", "growth over 100,000 orders: lab bench --full"))
    return report, _page("lab bench: simulated figures", report.figures, circumstances)


def _measure_real(
    rounds: int | None, on_progress: "OnProgress | None"
) -> "tuple[Report, Sequence[RenderableType]]":
    from lab.bench.real import REAL_ROUNDS, measure_real
    from lab.settings import environment

    with ended_as_by_ctrl_c():
        report = measure_real(
            environment(),
            rounds=REAL_ROUNDS if rounds is None else rounds,
            on_progress=on_progress,
        )
    servers = ", ".join(f"{name} {version}" for name, version in report.servers.items())
    circumstances = [*_circumstances(report), ("Servers", servers)]
    return report, _page("lab bench --real: figures of real servers", report.figures, circumstances)


def _circumstances(report: "Report") -> "list[tuple[str, str]]":
    from lab.cli.page_lines import length

    machine = report.machine
    load = "" if machine.load_before is None else f", load {machine.load_before:g} before"
    return [
        ("Measured", f"{report.rounds} rounds in {length(report.wall_s * 1_000)}"),
        ("With", f"lab {report.lab}, {machine.python}"),
        ("On", f"{machine.processor}, {machine.cores} cores{load}"),
    ]


def _page(
    title: str, figures: "Sequence[Figure]", circumstances: "Sequence[tuple[str, str]]"
) -> "Sequence[RenderableType]":
    from lab.cli import render

    columns = ["Figure", "Value", "Baseline", "Ratio", "Least to most", "Goal"]
    return [
        f"{title}, medians; they compare on this machine, at this moment only",
        render.listing(columns, [_cells(figure) for figure in figures]),
        "",
        render.labelled(
            [(figure.name, f"{figure.how}; against {figure.against}") for figure in figures]
        ),
        "",
        render.labelled(circumstances),
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
