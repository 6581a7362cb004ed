"""Output for people: the result page, the lines of many seeds, the bar of a long run.

The only user of rich. A page is made whole before any of it is printed. Not here:
anything that is not in `result.json`, and the contents of `lab list` (`list_`).
"""

import io
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from lab.checks.check import times
from lab.cli.page_lines import length, lines_of
from lab.cli.ways_on import ways_on
from lab.report.result import CheckResult, Result
from lab.report.seeds import SeedRun, SeedsResult

PIPE_WIDTH: Final = 100
_SIDE_BY_SIDE: Final = 90
_WITNESS_BESIDE: Final = 75
_STYLES: Final = {"PASS": "bold green", "FAIL": "bold red", "UNKNOWN": "bold yellow"}
_LABEL: Final = 15
_NEVER_WRAPPED: Final = 20


def width_of_output() -> int:
    """Columns of the terminal; a pipe gets a fixed width."""
    return max(40, shutil.get_terminal_size((PIPE_WIDTH, 24)).columns)


def to_text(parts: Iterable[RenderableType], *, width: int, is_plain: bool) -> str:
    """The parts below each other, as standard output should get them.

    Colours are for terminals only; `is_plain` and the variable NO_COLOR take them away.
    """
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=not is_plain and _is_terminal(sys.stdout),
        no_color=True if is_plain else None,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
    )
    for part in parts:
        # A command is to be copied: it is never broken into lines.
        console.print(part, soft_wrap=isinstance(part, Text) and bool(part.no_wrap))
    file = console.file
    assert isinstance(file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().rstrip("\n").split("\n"))


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether people look at it; a closed stream is None."""
    return stream is not None and stream.isatty()


def result_page(
    result: Result, *, width: int, links: Sequence[tuple[str, str]] = ()
) -> list[RenderableType]:
    """One run on one page, the verdict first.

    Args:
        result: of the run.
        width: of the page, in columns.
        links: labels and addresses of what shows more of it.
    """
    page: list[RenderableType] = [headline(result, width=width), Text(_second_line(result), "dim")]
    page.extend(_promises(result, width=width))
    tables = [table for table in (_faults(result), _patterns(result)) if table is not None]
    if len(tables) == 2 and width >= _SIDE_BY_SIDE:
        both = Table.grid(padding=(0, 4))
        both.add_row(*tables)
        page.append(both)
    else:
        page.extend(tables)
    page.append(labelled(lines_of(result)))
    for label, url in links:
        page.extend(command_lines(label, [url]))
    page.extend(command_lines("Again", [result.reproduce]))
    page.extend(command_lines("Next", _next(result)))
    for label, command in ways_on(result):
        page.extend(command_lines(label, [command]))
    return page


def _next(result: Result) -> list[str]:
    """Commands to try next, without the one that was just run."""
    done = _without_seed(result.reproduce)
    return [command for command in result.next if _without_seed(command) != done]


def _without_seed(command: str) -> list[str]:
    words = command.split()
    if "--seed" in words:
        at = words.index("--seed")
        del words[at : at + 2]
    return words


def headline(result: Result, *, width: int) -> RenderableType:
    """Scenario, world, seed, number of orders; at the right the verdict in a few words."""
    orders = result.orders.submitted
    left = f"{result.scenario}   {result.mode}   seed {result.seed}   {times(orders, 'order')}"
    right = Text.assemble((result.verdict, _STYLES[result.verdict]), f"  {_in_short(result)}")
    if result.partial:
        right = Text.assemble(("INTERRUPTED  ", "bold yellow"), right)
    if len(left) + len(right) + 3 > width:
        return Group(right, Text(left, "bold"))
    line = Table.grid(expand=True)
    line.add_column(style="bold")
    line.add_column(justify="right")
    line.add_row(left, right)
    return line


def _in_short(result: Result) -> str:
    judged = [check for check in result.checks if check.verdict != "UNKNOWN"]
    broken = sum(check.verdict == "FAIL" for check in judged)
    promises = "promise" if len(judged) == 1 else "promises"
    match result.verdict:
        case "FAIL":
            return f"{broken} of {len(judged)} {promises}"
        case "PASS":
            return f"{len(judged)} {promises} held"
        case "UNKNOWN":
            if result.beyond_contract:
                return f"beyond the contract: {broken} of {len(judged)} {promises} broken"
            return "this run proves nothing"


def _second_line(result: Result) -> str:
    took = length(result.time.wall_ms)
    if result.mode == "simulated":
        took = f"virtual {length(result.time.virtual_ms)} in {took}"
    parts = [
        took,
        *(
            f"{result.metrics[name]:,.0f} {name}"
            for name in ("deliveries",)
            if name in result.metrics
        ),
        f"digest {result.digest[:8]}" if result.digest else "",
        f"policies {result.settings_profile}",
    ]
    return "   ".join(filter(None, parts))


def _promises(result: Result, *, width: int) -> Iterable[RenderableType]:
    """Promises that are broken or were at risk; a narrow page has their witnesses below."""
    last = ("Witness",) if width >= _WITNESS_BESIDE else ()
    table = _table("Promise", "Verdict", "Checked", "Broken", *last, numbers=(2, 3))
    shown = [check for check in result.checks if check.verdict == "FAIL"]
    shown += [check for check in result.checks if check.verdict != "FAIL" and check.at_risk]
    for check in shown:
        table.add_row(
            check.name,
            _verdict(check),
            f"{check.checked:,}",
            f"{check.violations:,}",
            *([check.witness or _unexercised(check)] if last else []),
        )
    below = [("Witness", f"{one.name}: {one.witness}") for one in shown if one.witness]
    return [*([table] if shown else []), *([labelled(below)] if below and not last else [])]


def _verdict(check: CheckResult) -> Text:
    if check.expected:
        return Text("expected", _STYLES["UNKNOWN"])
    shown = check.verdict if check.verdict == "FAIL" else check.verdict.lower()
    return Text(shown, _STYLES[check.verdict])


def _unexercised(check: CheckResult) -> str:
    return "not exercised" if check.verdict == "UNKNOWN" else ""


def _faults(result: Result) -> Table | None:
    if not result.faults:
        return None
    table = _table("Fault", "Fired", "Hit", numbers=(1,))
    for fault in result.faults:
        table.add_row(fault.name, f"{fault.fired:,}", _ordinals(fault.orders, fault.fired))
    return table


def _ordinals(orders: Sequence[int], fired: int) -> str:
    if not orders:
        return ""
    more = ", ..." if fired > len(orders) else ""
    return f"order{'s' if len(orders) > 1 else ''} {', '.join(map(str, orders))}{more}"


def _patterns(result: Result) -> Table | None:
    shown = [use for use in result.patterns if not use.on or any(use.acted.values())]
    if not shown:
        return None
    table = _table("Pattern", "Acted")
    for use in shown:
        acted = [f"{n:,} {deed.replace('_', ' ')}" for deed, n in use.acted.items() if n]
        table.add_row(use.name, ", ".join(acted if use.on else ("off", *acted)))
    return table


def listing(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> RenderableType:
    """A plain table; columns of long texts share the rest of the line."""
    cells = [list(row) for row in rows]
    table = _table(*columns)
    for number, column in enumerate(table.columns):
        widest = max((len(row[number]) for row in cells), default=0)
        column.no_wrap = number == 0 or widest <= _NEVER_WRAPPED
    for row in cells:
        table.add_row(*row)
    return table


def labelled(pairs: Iterable[tuple[str, str]]) -> RenderableType:
    """Names at the left, their texts at the right, folded."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True, min_width=_LABEL - 2)
    facts.add_column(overflow="fold")
    for label, text in pairs:
        facts.add_row(label, text)
    return facts


def command_lines(label: str, commands: Iterable[str]) -> Iterable[RenderableType]:
    """Commands or addresses to copy, one a line, never broken."""
    labels = (label, *[""] * 99)
    return [
        Text.assemble((f"{name:<{_LABEL}}", "bold"), one, no_wrap=True)
        for name, one in zip(labels, filter(None, commands), strict=False)
    ]


def verdict_line(left: str, verdict: str, right: str) -> RenderableType:
    """What was asked, its verdict, and that in a few words."""
    return Text.assemble((f"{left}   ", "bold"), (verdict, _STYLES[verdict]), f"   {right}")


def seed_line(run: SeedRun) -> RenderableType:
    """One run among many: seed, verdict, and its failure or its digest."""
    digest = f"digest {run.digest[:8]}   " if run.digest else ""
    rest = run.why or f"{digest}{length(run.wall_ms)}"
    if len(run.broken) > 1:
        rest += f" (and {len(run.broken) - 1} more)"
    return Text.assemble(
        f"seed {run.seed:<6} ",
        (f"{run.verdict:<8}", _STYLES[run.verdict]),
        f" {rest}",
        no_wrap=True,
    )


def seeds_summary(result: SeedsResult) -> list[RenderableType]:
    """The sum of many seeds, and the shortest way to the first that did not pass."""
    counts = ", ".join(f"{count:,} {name}" for name, count in result.by_verdict.items() if count)
    cut = (
        f" INTERRUPTED after {len(result.runs):,} of {result.seeds:,} seeds"
        if result.partial
        else ""
    )
    line = Text.assemble(
        (f"{result.scenario}   {result.mode}   {len(result.runs):,} seeds   ", "bold"),
        (result.verdict, _STYLES[result.verdict]),
        f"   {counts or 'none ran'}{cut}",
    )
    facts = [("Broken", f"{name}: {count:,} seeds") for name, count in result.broken.items()]
    worst = next((run for run in result.runs if run.verdict == result.verdict != "PASS"), None)
    again = command_lines("Again", [worst.reproduce]) if worst is not None else ()
    return [line, *([labelled(facts)] if facts else []), *again]


def _table(*columns: str, numbers: Sequence[int] = ()) -> Table:
    """A table without lines, its last column as wide as it needs."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        is_last = number == len(columns) - 1
        table.add_column(
            column,
            justify="right" if number in numbers else "left",
            no_wrap=not is_last,
            overflow="fold",
        )
    return table


class ProgressBar:
    """A bar on standard error for work that takes longer than a second; on terminals only.

    It has no thread of its own: it is drawn when it is told of progress.
    """

    def __init__(self, title: str, *, is_wanted: bool = True) -> None:
        self._title = title
        self._is_wanted = is_wanted and _is_terminal(sys.stderr)
        self._started = self._drawn = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> "Callable[[int, int | None, str], None] | None":
        return self.tell if self._is_wanted else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, done: int, total: int | None, phase: str) -> None:
        """Show that `done` of `total` is done; None or 0: nobody knows how much there is."""
        now = time.monotonic()
        if now - self._started < 1.0 or now - self._drawn < 0.1:
            return
        self._drawn = now
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[shown]}", markup=False),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.add_task(self._title, total=total or None, shown="")
            self._bar.start()
        shown = f"{done:,}/{total:,} {phase}" if total else f"{done:,} {phase}"
        self._bar.update(self._bar.task_ids[0], completed=done, total=total or None, shown=shown)
        self._bar.refresh()
