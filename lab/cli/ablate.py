"""`lab ablate`: what breaks without a pattern under the same faults, and what the pattern costs.

Not here: the runs (`lab.explore.ablation`), and the looks of a table (`render`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import exploring
from lab.cli.exit_codes import code_of
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.options import RunFlags, complete_scenario, read_display, read_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lab.explore.ablation import Ablation, AblationResult, AblationRun, Variation
    from lab.explore.spread import Crew
    from lab.scenarios.run_options import RunOptions

_WIDE: Final = 110
_BAR: Final = 30
_CHARTS: Final = 3
_VALUES_MAX: Final = 50
TITLES: Final = {
    "deliveries": "Deliveries",
    "attempts": "Attempts",
    "calls": "Calls",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "throughput": "Orders/s",
}
"""Of the measures; the first three are per order."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Ablate(RunFlags):
    """Leave out one pattern after the other under the same faults; show what breaks and the price.

    The faults are those of a run with every pattern: the same orders, the same visits. Without a
    SCENARIO each one is run without each pattern that it teaches; of a named one every pattern is
    left out in turn, or with --off those together. --vary compares values of a policy instead.
    With --real, or a part that is, name the scenarios: one run after the other, of seconds each,
    without each pattern that they teach.

    Exit code: 0 every row was made, whatever it shows, 1 a scenario broke a promise with all its
    patterns, 2 wrong usage, 4 no cluster, or a server is not there, 130 interrupted: what was found
    until then is printed.
    """

    scenario: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SCENARIO]...",
            help="Of `lab list`.  [all]",
            show_default=False,
            autocompletion=complete_scenario,
        ),
    ] = None
    vary: Annotated[
        str | None,
        typer.Option(
            "--vary", metavar="KEY=A,B", help="Compare values of a policy on one plan, as a chart."
        ),
    ] = None
    jobs: exploring.Jobs = None
    cluster: exploring.Cluster = None

    def execute(self) -> int:
        if self.seeds is not None:
            raise OptionError("an ablation is of one plan: take --seed N, not --seeds")
        display = read_display(self)
        if display.html is not None or display.junit is not None or display.ship:
            raise OptionError(
                "--html, --junit and --ship are of runs, and an ablation keeps none: take the "
                "command of a row, such as lab run NAME --off PATTERN"
            )
        from lab.explore.ablation import Ablation

        workers = exploring.read_workers(self.jobs, self.cluster)
        vary = _variation(FlagValues().text("vary", self.vary))
        names = tuple(dict.fromkeys(self.scenario or ()))
        if vary is not None and not names:
            raise OptionError("--vary compares runs of a scenario: name one, or several")
        asked = _asked(names, read_options("", self))
        ablation = Ablation(asked, teach_only=not names, vary=vary)
        if ablation.mode != "simulated":
            workers = _one_after_the_other(self.jobs, self.cluster)
        is_whole = _go_on(ablation, workers, is_wanted=display.wants_progress)
        result = ablation.result()
        exploring.print_found(
            result, lambda width: _page(result, width=width, is_quiet=display.quiet), display
        )
        return code_of(result.verdict, is_partial=not is_whole)


def _one_after_the_other(jobs: str | None, cluster: str | None) -> tuple[int, None]:
    """Runs on the clock would disturb each other.

    Raises:
        OptionError: something else was asked for.
    """
    values = FlagValues()
    if values.text("cluster", cluster) is not None or values.whole("jobs", jobs) not in (None, 1):
        raise OptionError(
            "runs on the clock are made here, one after the other: leave --jobs and --cluster out"
        )
    return 1, None


def _asked(names: Sequence[str], options: "RunOptions") -> "list[RunOptions]":
    """The options of each scenario; of all that teach a pattern, if none is named."""
    from lab.scenarios.loader import load_catalogue

    if not names:
        catalogue = load_catalogue(options.scenarios).values()
        names = [one.name for one in catalogue if one.patterns]
    return [replace(options, scenario=name) for name in names]


def _variation(text: str | None) -> "Variation | None":
    """The policy to be varied; whether its values can be used is found out by the run.

    Raises:
        OptionError: it is not KEY=A,B, or a policy that is a list itself.
    """
    if text is None:
        return None
    from lab.explore.ablation import Variation
    from lab.settings_table import SETTINGS

    key, _, rest = (part.strip() for part in text.partition("="))
    values = tuple(dict.fromkeys(part.strip() for part in rest.split(",")))
    if not key or not all(values) or len(values) > _VALUES_MAX:
        raise OptionError(
            f"--vary must be KEY=A,B,C with at most {_VALUES_MAX} values, not {text!r} "
            "(see: lab list --settings)"
        )
    if any(one.name == key and isinstance(one.simulated, tuple) for one in SETTINGS):
        raise OptionError(f"--vary {key}: its value is a list already; run it with --set instead")
    return Variation(key, values)


def _go_on(ablation: "Ablation", workers: tuple[int, str | None], *, is_wanted: bool) -> bool:
    """Make all runs; returns whether Ctrl-C did not end them."""

    def work(crew: "Crew", bar: exploring.Bar | None) -> None:
        ablation.go_on(crew, None if bar is None else lambda done, total: bar(done, total, "runs"))

    return exploring.make_runs("ablate", workers, work, is_wanted=is_wanted)


def _page(result: "AblationResult", *, width: int, is_quiet: bool) -> "Iterable[RenderableType]":
    from lab.checks.check import times
    from lab.cli import render

    cut = ", interrupted: rows are missing" if result.partial else ""
    yield render.verdict_line(
        f"ablate   {result.mode}   seed {result.seed}   {times(len(result.with_all), 'scenario')}",
        result.verdict,
        f"{times(len(result.rows), 'row')}{cut}",
    )
    if is_quiet:
        return
    for base in result.with_all:
        rows = [row for row in result.rows if row.scenario == base.scenario]
        yield render.labelled([("", "")])
        yield from _of_scenario(base, rows, vary=result.vary, width=width)
    notes = [("", "")]
    if not result.vary:
        notes.append(
            ("Price", "with the pattern minus without it; deliveries, attempts, calls per order")
        )
    if result.mode != "simulated":
        notes.append(("*", "the coins of each order and visit decide again"))
    elif any(row.plan == "keyed" for row in result.rows):
        notes.append(("*", "a fault is a state of a third party: it meets whoever calls"))
    yield render.labelled(notes)
    for row in (*result.with_all, *result.rows):
        yield from (render.labelled([("Note", note)]) for note in row.notes)
    again = next((row for row in result.rows if row.outcome == "broken"), None)
    if again is not None:
        yield from render.command_lines("Again", [again.reproduce])


def _of_scenario(
    base: "AblationRun", rows: "Sequence[AblationRun]", *, vary: str, width: int
) -> "Iterator[RenderableType]":
    from lab.checks.check import times
    from lab.cli import render

    star = " *" if base.plan == "keyed" else ""
    yield render.labelled([(base.scenario, f"{times(base.struck, 'fault')} under one plan{star}")])
    if base.broken:
        yield render.labelled([("Broken", f"with all patterns: {', '.join(base.broken)}")])
        yield from render.command_lines("Again", [base.reproduce])
    first = vary or "Off"
    names = [row.value if vary else "+".join(row.off) for row in rows]
    told = [said(row) for row in rows]
    costs = [_numbers(row) for row in rows]
    says = "Outcome" if vary else "Without it"
    if width >= _WIDE:
        cells = [[name, one, *cost] for name, one, cost in zip(names, told, costs, strict=True)]
        yield render.listing([first, says, *TITLES.values()], cells)
    else:
        yield render.listing([first, says], list(zip(names, told, strict=True)))
        cells = [[name, *cost] for name, cost in zip(names, costs, strict=True)]
        yield render.listing([first, *TITLES.values()], cells)
    if vary:
        yield from _charts(vary, rows)


def said(row: "AblationRun") -> str:
    """What a run shows, in a few words."""
    match row.outcome:
        case "broken":
            return f"breaks {', '.join(row.broken)}"
        case "saved":
            return f"saved: {row.why.rpartition(' is off: ')[2]}"
        case "held":
            return "nothing breaks"
        case "unproven":
            return f"proves nothing: {row.why}"


def _numbers(row: "AblationRun") -> list[str]:
    """The price of a pattern, or the measures of a run, as they are printed."""
    return [
        number(getattr(row.price or row.measures, name), is_signed=row.price is not None)
        for name in TITLES
    ]


def number(value: float, *, is_signed: bool) -> str:
    """A measure or a difference of two, with as many places as matter.

    >>> number(-0.061, is_signed=True), number(1234.5, is_signed=False)
    ('-0.06', '1,234')
    """
    places = 2 if abs(value) < 100 else 0
    text = f"{value:{'+' if is_signed else ''},.{places}f}"
    return "0" if text.strip("+-0.") == "" else text


def _charts(key: str, rows: "Sequence[AblationRun]") -> "Iterator[RenderableType]":
    """Bars of the measures that depend most on the policy."""
    from lab.cli import render

    for name in _most_moved(rows):
        values = [getattr(row.measures, name) for row in rows]
        bars = (
            [row.value, "#" * round(_BAR * value / max(values)), number(value, is_signed=False)]
            for row, value in zip(rows, values, strict=True)
        )
        yield render.labelled([("", "")])
        yield render.listing([key, TITLES[name], ""], bars)


def _most_moved(rows: "Sequence[AblationRun]") -> list[str]:
    spread = {}
    for name in TITLES:
        values = [getattr(row.measures, name) for row in rows]
        if values and max(values) > 0:
            spread[name] = 1 - min(values) / max(values)
    most = sorted(spread, key=lambda name: -spread[name])
    return [name for name in most if spread[name] > 0][:_CHARTS]
