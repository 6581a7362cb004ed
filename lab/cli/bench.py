"""`lab bench`: the cost of a simulated order, or the speed of real adapters, beside raw baselines.

A missed goal is shown, not an exit code: a busy machine is no mistake of anybody. A threshold is
one that somebody has set. Not here: the measurements (`lab.bench`), the meaning of the flags
(`bench_flags`), and the page (`bench_page`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues
from lab.cli.output import print_result
from lab.cli.stopping import ended_as_by_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from lab.bench.report import Report
    from lab.bench.rounds import OnProgress
    from lab.cli.bench_flags import BenchFlags

Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="Measure this and nothing else. Repeatable, or a,b: order, core, chaos, pace, seeds, "
        "runs, bus, cold, latency; on request only: patterns, sizes, growth. "
        "With --real: kafka, postgres, redis, http, run; on request only: workers.",
        show_default=False,
    ),
]
Duration = Annotated[
    str | None,
    typer.Option(
        "--duration",
        metavar="TIME",
        help="Take rounds for so long, such as 30s or 2m, instead of --rounds. With --real: "
        "orders of the whole run come for so long.",
    ),
]
Orders = Annotated[
    str | None,
    typer.Option(
        "--orders",
        metavar="N,N",
        help="Of --only sizes, the smallest first.  [1000,5000,20000]",
    ),
]
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
    only: Only = None,
    rounds: Annotated[
        str | None,
        typer.Option(
            "--rounds", metavar="N", help="How often each figure is measured.  [5; --real: 3]"
        ),
    ] = None,
    duration: Duration = None,
    orders: Orders = None,
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
    from lab.cli import render
    from lab.cli.bench_flags import BenchFlags

    values = FlagValues()
    flags = BenchFlags(values, real=real, full=full, only=only)
    flags.read_amounts(rounds, duration, orders)
    judge = _Judge(values, threshold, compare, flags)
    is_json, is_quiet = values.switch("json", flag=json), values.switch("quiet", flag=quiet)
    with render.ProgressBar("bench", is_wanted=not (is_quiet or is_json)) as on_progress:
        report, page = _measure_real(flags, on_progress) if real else _measure(flags, on_progress)
    report, more = judge.judge(report)
    is_plain = values.switch("no-color", flag=no_color)
    _print(report, [*page, *more], is_json=is_json, is_plain=is_plain)
    is_met = all(one.reached for one in report.thresholds)
    return ExitCode.PASS if is_met else ExitCode.MISSED


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
        flags: "BenchFlags",
    ) -> None:
        from lab.bench.comparing import read_earlier
        from lab.bench.thresholds import Measured, read_threshold

        measured = Measured(flags.figures(), flags.others(), flags.latency_part)
        self._thresholds = [
            read_threshold(one, measured) for one in values.many("threshold", thresholds)
        ]
        path = values.filled("compare", compare)
        self._earlier = None if path is None else read_earlier(Path(path), measured.figures)

    def judge(self, report: "Report") -> "tuple[Report, Sequence[RenderableType]]":
        """The report with what was asked of it, and the lines of the page about that."""
        import msgspec

        from lab.bench.comparing import compare, left_out
        from lab.bench.thresholds import meet
        from lab.cli.bench_page import judged_lines

        now, earlier = report.figures, self._earlier
        report = msgspec.structs.replace(
            report, thresholds=meet(self._thresholds, now, report.latency)
        )
        if earlier is not None:
            report = msgspec.structs.replace(
                report,
                compared=compare(earlier.figures, now),
                not_now=left_out(earlier.figures, now),
                not_before=left_out(now, earlier.figures),
            )
        return report, judged_lines(report, None if earlier is None else earlier.machine)


def _measure(
    flags: "BenchFlags", on_progress: "OnProgress | None"
) -> "tuple[Report, Sequence[RenderableType]]":
    from lab.bench.bench import ROUNDS, measure
    from lab.cli.bench_page import simulated_page

    report = measure(
        parts=flags.parts,
        rounds=ROUNDS if flags.rounds is None else flags.rounds,
        duration_s=flags.duration_s,
        sizes=flags.sizes,
        on_progress=on_progress,
    )
    return report, simulated_page(report)


def _measure_real(
    flags: "BenchFlags", on_progress: "OnProgress | None"
) -> "tuple[Report, Sequence[RenderableType]]":
    from lab.bench.real import REAL_ROUNDS, measure_real
    from lab.cli.bench_page import real_page
    from lab.settings import environment

    with ended_as_by_ctrl_c():
        report = measure_real(
            environment(),
            parts=flags.parts,
            rounds=REAL_ROUNDS if flags.rounds is None else flags.rounds,
            sizes=flags.real_sizes,
            on_progress=on_progress,
        )
    return report, real_page(report)
