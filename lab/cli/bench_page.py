"""The page of `lab bench`: tables of figures, how each was measured, and under which circumstances.

Not here: the command (`bench`), and the figures (`lab.bench`).
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from lab.bench.bench import BenchReport
    from lab.bench.figures import Figure
    from lab.bench.interpreter import Machine
    from lab.bench.real import RealReport
    from lab.bench.report import Report

_OWN_TABLE: Final = ("patterns", "sizes")
"""The parts that have a table of their own."""
_ROUNDS_TO_TELL: Final = 5
"""So many rounds agree by chance in one of sixteen cases."""


def simulated_page(report: "BenchReport") -> "Sequence[RenderableType]":
    """The page of `lab bench`."""
    from lab.bench.parts import SIMULATED

    hop = f"{short(report.hop_us)} us ({short(report.hop_us_low)} to {short(report.hop_us_high)})"
    more = [("A hop", hop), *_circumstances(report)]
    left = [part for part in SIMULATED if part.name not in report.parts]
    if left:
        names = ", ".join(part.name for part in left)
        more.append(("Left out", f"{names}: lab bench --only NAME, or --full for growth"))
    return _page("lab bench: simulated figures", report, more)


def real_page(report: "RealReport") -> "Sequence[RenderableType]":
    """The page of `lab bench --real`."""
    from lab.bench.parts import REAL

    servers = ", ".join(f"{name} {version}" for name, version in report.servers.items())
    more = [*_circumstances(report), ("Servers", servers)]
    left = [part for part in REAL if part.name not in report.parts]
    if left:
        names = ", ".join(part.name for part in left)
        more.append(("Left out", f"{names}: lab bench --real --only NAME"))
    return _page("lab bench --real: figures of real servers", report, more)


def judged_lines(report: "Report", before: "Machine | None") -> "Sequence[RenderableType]":
    """Thresholds, and the figures beside earlier ones; `before`: the machine of those."""
    from lab.cli import render

    lines: list[RenderableType] = []
    if report.thresholds:
        told = [
            (one.threshold, f"{short(one.measured)}: {'reached' if one.reached else 'missed'}")
            for one in report.thresholds
        ]
        lines += ["", render.labelled(told)]
    if before is None:
        return lines
    columns = ["Figure", "Before", "Now", "Now / before", "It is"]
    rows = [
        [one.name, short(one.before), short(one.now), short(one.by), one.change]
        for one in report.compared
    ]
    lines += ["", render.listing(columns, rows)]
    only = (("Not measured now", report.not_now), ("Not measured before", report.not_before))
    listed = [(label, "; ".join(names)) for label, names in only if names]
    if listed:
        lines += ["", render.labelled(listed)]
    return [*lines, *_other_machine(before, report.machine)]


def short(number: float) -> str:
    """Three figures that matter, without an exponent."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}" if number >= 1 else f"{number:.3f}"


def _other_machine(before: "Machine", now: "Machine") -> "Sequence[str]":
    was, is_ = (f"{one.processor}, {one.cores} cores, {one.python}" for one in (before, now))
    if was == is_:
        return []
    return ["", f"The earlier one was measured on another machine: {was}; this one: {is_}"]


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


def _latency(report: "Report") -> "Sequence[tuple[str, str]]":
    """How long orders take, and how many there are a second."""
    told = report.latency
    if told is None:
        return []
    lengths = (told.p50_ms, told.p95_ms, told.p99_ms, told.max_ms)
    shown = " / ".join(map(short, lengths))
    speed = f"{short(told.orders_per_s)} orders/s"
    return [("An order", f"p50/p95/p99/max {shown} ms, {speed}; {told.how}")]


def _page(
    title: str, report: "Report", circumstances: "Sequence[tuple[str, str]]"
) -> "Sequence[RenderableType]":
    from lab.cli import render

    lines: list[RenderableType] = [
        f"{title}, medians; they compare on this machine, at this moment only"
    ]
    of = {part: [one for one in report.figures if one.part == part] for part in _OWN_TABLE}
    usual = [figure for figure in report.figures if figure.part not in _OWN_TABLE]
    if usual:
        columns = [*_COLUMNS, "Goal"]
        lines += [render.listing(columns, [[*_cells(one), _goal(one)] for one in usual]), ""]
        lines.append(render.labelled([_how(figure) for figure in usual]))
    if of["patterns"]:
        lines += _patterns(of["patterns"], report.rounds)
    if of["sizes"]:
        columns = [*_COLUMNS, "Difference"]
        rows = [[*_cells(one), _difference(one)] for one in of["sizes"]]
        lines += ["", "By the number of orders", render.listing(columns, rows), ""]
        lines.append(render.labelled([_how(figure) for figure in of["sizes"]]))
    return [*lines, "", render.labelled([*_latency(report), *circumstances])]


def _patterns(figures: "Sequence[Figure]", rounds: int) -> "Sequence[RenderableType]":
    """One line a pattern: its cost in time, which is noisy, and in calls, which is not."""
    from lab.bench.asked_figures import CALLS
    from lab.cli import render

    times = [one for one in figures if not one.name.endswith(CALLS)]
    calls = {one.name.removesuffix(CALLS): one for one in figures if one.name.endswith(CALLS)}
    is_enough = rounds >= _ROUNDS_TO_TELL
    rows = [
        [
            *_cells(one),
            _difference(one) if is_enough else f"under {_ROUNDS_TO_TELL} rounds tell nothing",
            f"{calls[one.name].value - calls[one.name].baseline:+,.0f}",
        ]
        for one in times
    ]
    any_calls = calls[times[0].name]
    return [
        "",
        "The cost of each pattern: an order with all of them, beside an order without that one",
        render.listing([*_COLUMNS, "Difference", "Calls"], rows),
        "",
        render.labelled(
            [
                ("Value, Baseline", _how(times[0])[1]),
                ("Calls", f"of {short(any_calls.value)}: {any_calls.how}"),
            ]
        ),
    ]


_COLUMNS: Final = ("Figure", "Value", "Baseline", "Ratio", "Least to most")


def _how(figure: "Figure") -> tuple[str, str]:
    return figure.name, f"{figure.how}; against {figure.against}"


def _cells(figure: "Figure") -> "list[str]":
    return [
        figure.name,
        f"{short(figure.value)} {figure.unit}",
        f"{short(figure.baseline)} {figure.unit}",
        short(figure.ratio),
        f"{short(figure.low)} to {short(figure.high)}",
    ]


def _goal(figure: "Figure") -> str:
    if figure.goal is None:
        return ""
    sign = "<=" if figure.goal.bound == "at most" else ">="
    unit = f" {figure.unit}" if figure.goal.of == "value" else ""
    met = {True: "reached", False: "missed", None: "too noisy to tell"}[figure.reached]
    return f"{sign} {figure.goal.limit:g}{unit} {met}"


def _difference(figure: "Figure") -> str:
    """How much more than the baseline, if all measurements agree on which of them is more."""
    if figure.low <= 1 <= figure.high:
        return "too noisy to tell"
    return f"{(figure.ratio - 1) * 100:+.1f} %"
