"""`lab bench`: the cost of a simulated order, or the speed of real adapters, beside raw baselines.

Not here: the measurements (`lab.bench`). A missed goal is shown, not an exit code: a busy
machine is no mistake of anybody. A threshold is one that somebody has set.
"""

from pathlib import Path
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
    from lab.bench.interpreter import Machine
    from lab.bench.report import Report
    from lab.bench.rounds import OnProgress

_ROUNDS_MAX: Final = 1_000

Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="LIMIT",
        help="Exit 5 if it is missed: 'p99<200ms', 'orders/s>500', 'order, core<30'.",
    ),
]
Compare = Annotated[
    str | None,
    typer.Option(
        "--compare", metavar="FILE", help="Beside an earlier report, of lab bench --json."
    ),
]


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
    threshold: Thresholds = None,
    compare: Compare = None,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    no_color: options.NoColor = False,
) -> int:
    """Measure the cost of an order, beside raw baselines.

    Simulated figures, or those of real servers; medians. The baselines are measured in the same
    run. Exit code: 0 even if a goal is missed, 4 a server is missing, 5 a threshold is missed.
    """
    values = FlagValues()
    times = _rounds(values, rounds)
    if real and full:
        raise OptionError("--full is of the simulated figures: leave it out with --real")
    from lab.cli import render

    judge = _Judge(values, threshold, compare, real=real, full=full)
    is_json, is_quiet = values.switch("json", flag=json), values.switch("quiet", flag=quiet)
    with render.ProgressBar("bench", is_wanted=not (is_quiet or is_json)) as on_progress:
        if real:
            report, page = _measure_real(times, on_progress)
        else:
            report, page = _measure_simulated(times, on_progress, full=full)
    report, more = judge.judge(report)
    is_plain = values.switch("no-color", flag=no_color)
    _print(report, [*page, *more], is_json=is_json, is_plain=is_plain)
    is_met = all(one.reached for one in report.thresholds)
    return ExitCode.PASS if is_met else ExitCode.MISSED


def _rounds(values: FlagValues, flag: str | None) -> int | None:
    times = values.whole("rounds", flag)
    if times is not None and not 1 <= times <= _ROUNDS_MAX:
        raise OptionError(f"--rounds must be from 1 to {_ROUNDS_MAX:,}, not {times}")
    return times


def _print(
    report: "Report", page: "Sequence[RenderableType]", *, is_json: bool, is_plain: bool
) -> None:
    from lab.bench.report import encode_report
    from lab.cli import render

    if is_json:
        print_result(encode_report(report))
    else:
        print_result(render.to_text(page, width=render.width_of_output(), is_plain=is_plain))


class _Judge:
    """What a person asks of a report. Made before minutes are spent on measuring.

    Raises:
        ThresholdError, CompareError: a threshold or a file cannot be used.
    """

    def __init__(
        self,
        values: FlagValues,
        thresholds: "Sequence[str] | None",
        compare: str | None,
        *,
        real: bool,
        full: bool,
    ) -> None:
        from lab.bench.comparing import read_earlier
        from lab.bench.thresholds import read_threshold

        figures = _prototypes(real=real, full=full)
        self._thresholds = [
            read_threshold(one, figures) for one in values.many("threshold", thresholds)
        ]
        path = values.filled("compare", compare)
        self._earlier = None if path is None else read_earlier(Path(path), figures)

    def judge(self, report: "Report") -> "tuple[Report, Sequence[RenderableType]]":
        """The report with what was asked of it, and the lines of the page about that."""
        import msgspec

        from lab.bench.comparing import compare
        from lab.bench.thresholds import meet
        from lab.cli import render

        lines: list[RenderableType] = []
        met = meet(self._thresholds, report.figures, report.latency)
        report = msgspec.structs.replace(report, thresholds=met)
        if met:
            told = [
                (one.threshold, f"{_short(one.measured)}: {'reached' if one.reached else 'missed'}")
                for one in met
            ]
            lines += ["", render.labelled(told)]
        if self._earlier is not None:
            compared = compare(self._earlier.figures, report.figures)
            report = msgspec.structs.replace(report, compared=compared)
            columns = ["Figure", "Before", "Now", "Now / before", "It is"]
            rows = [
                [one.name, _short(one.before), _short(one.now), _short(one.by), one.change]
                for one in compared
            ]
            lines += ["", render.listing(columns, rows)]
            lines += _other_machine(self._earlier.machine, report.machine)
        return report, lines


def _other_machine(before: "Machine", now: "Machine") -> "Sequence[str]":
    was, is_ = (f"{one.processor}, {one.cores} cores, {one.python}" for one in (before, now))
    if was == is_:
        return []
    return ["", f"The earlier one was measured on another machine: {was}; this one: {is_}"]


def _prototypes(*, real: bool, full: bool) -> "Sequence[Figure]":
    """The figures that will be measured, without numbers."""
    if real:
        from lab.bench.real_figures import prototypes as of_real
        from lab.bench.real_rounds import REAL

        return of_real(REAL)
    from lab.bench.rounds import DEFAULT
    from lab.bench.simulated_figures import prototypes

    return prototypes(DEFAULT, full=full)


def _measure_simulated(
    rounds: int | None, on_progress: "OnProgress | None", *, full: bool
) -> "tuple[Report, Sequence[RenderableType]]":
    from lab.bench.bench import ROUNDS, measure

    report = measure(
        full=full, rounds=ROUNDS if rounds is None else rounds, on_progress=on_progress
    )
    hop = f"{report.hop_us:.2f} us ({report.hop_us_low:.2f} to {report.hop_us_high:.2f})"
    circumstances = [_latency(report), ("A hop", hop), *_circumstances(report)]
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
    circumstances = [_latency(report), *_circumstances(report), ("Servers", servers)]
    return report, _page("lab bench --real: figures of real servers", report.figures, circumstances)


def _circumstances(report: "Report") -> "list[tuple[str, str]]":
    from lab.cli.page_lines import length

    machine = report.machine
    rounds = "1 round" if report.rounds == 1 else f"{report.rounds} rounds"
    load = "" if machine.load_before is None else f", load {machine.load_before:g} before"
    return [
        ("Measured", f"{rounds} in {length(report.wall_s * 1_000)}"),
        ("With", f"lab {report.lab}, {machine.python}"),
        ("On", f"{machine.processor}, {machine.cores} cores{load}"),
    ]


def _latency(report: "Report") -> "tuple[str, str]":
    """How long orders take, and how many there are a second."""
    told = report.latency
    lengths = (told.p50_ms, told.p95_ms, told.p99_ms, told.max_ms)
    shown = " / ".join(map(_short, lengths))
    speed = f"{_short(told.orders_per_s)} orders/s"
    return "An order", f"p50/p95/p99/max {shown} ms, {speed}; {told.how}"


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
        met = {True: "reached", False: "missed", None: "too noisy to tell"}[figure.reached]
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
