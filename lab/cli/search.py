"""`lab search`: a scenario under many seeds, on all cores, and the ways in which it breaks.

Not here: the search itself (`lab.explore.search`), and the looks of a page (`render`).
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import exploring
from lab.cli.exit_codes import code_of
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.options import RunFlags, ScenarioName, parse_seeds, read_display, read_options
from lab.cli.run import ask_for_a_name

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lab.explore.findings import Judged
    from lab.explore.search import Searching, SearchResult
    from lab.explore.spread import Crew

SEEDS: Final = "1-500"
_SEEDS_NAMED: Final = 5


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Search(RunFlags):
    """Run a scenario under many seeds and print each way in which it breaks a promise.

    Twenty seeds whose witnesses differ in their numbers alone are one finding. What was found does
    not depend on --jobs. No run keeps files: the line under Again makes one that does.

    Exit code: 0 no seed failed, 1 FAIL, 2 wrong usage, 3 a seed proved nothing, 4 no cluster, 130
    interrupted: what was found until then is printed.
    """

    scenario: ScenarioName = None
    jobs: exploring.Jobs = None
    cluster: exploring.Cluster = None
    max_failures: Annotated[
        str | None,
        typer.Option("--max-failures", metavar="N", help="End when N seeds have failed."),
    ] = None
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="FILE", help="Keep what was found there, and go on where it ended."
        ),
    ] = None

    def execute(self) -> int:
        if self.seed is not None:
            raise OptionError("a search takes --seeds, such as --seeds 1-500, not --seed")
        display = read_display(self)
        if display.html is not None or display.junit is not None or display.ship:
            raise OptionError(
                "--html, --junit and --ship are of runs, and a search keeps none: take a seed that "
                "it found, or lab run NAME --seeds A-B --junit FILE"
            )
        options = read_options(self.scenario or "", self)
        if not self.scenario:
            return ask_for_a_name("search", options.scenarios, display)
        from lab.explore.search import Searching

        workers = exploring.read_workers(self.jobs, self.cluster)
        values = FlagValues()
        search = Searching(
            options,
            parse_seeds(self.seeds or SEEDS),
            max_failures=_at_least_one(values.whole("max-failures", self.max_failures)),
        )
        resume = values.text("resume", self.resume)
        is_whole = _go_on(
            search,
            workers,
            file=None if resume is None else Path(resume),
            is_wanted=display.wants_progress,
        )
        result = search.result()
        exploring.print_found(result, lambda _: _page(result, is_quiet=display.quiet), display)
        return code_of(result.verdict, is_partial=not is_whole)


def _at_least_one(failures: int | None) -> int | None:
    if failures == 0:
        raise OptionError("--max-failures must be 1 or more, not 0")
    return failures


def _go_on(
    search: "Searching", workers: tuple[int, str | None], *, file: Path | None, is_wanted: bool
) -> bool:
    """Search to the end, or to Ctrl-C; returns whether it came to its end."""
    from lab.explore.search_file import search_file

    with ExitStack() as stack:
        kept = None if file is None else stack.enter_context(search_file(file, search.question))
        if kept is not None:
            search.runs.extend(kept.runs)

        def work(crew: "Crew", bar: exploring.Bar | None) -> None:
            def told(batch: "Sequence[Judged]", done: int, total: int) -> None:
                if kept is not None:
                    kept.add(batch)
                if bar is not None:
                    bar(done, total, "seeds")

            search.go_on(crew, told)

        return exploring.make_runs("search", workers, work, is_wanted=is_wanted)


def _page(result: "SearchResult", *, is_quiet: bool) -> "Iterable[RenderableType]":
    from lab.checks.check import times
    from lab.cli import render

    yield render.verdict_line(
        f"{result.scenario}   simulated   {result.runs:,} of {result.seeds:,} seeds",
        result.verdict,
        ", ".join(f"{count:,} {name}" for name, count in result.by_verdict.items() if count),
    )
    if is_quiet:
        return
    for one in result.findings:
        more = ", ..." if one.count > _SEEDS_NAMED else ""
        seeds = ", ".join(map(str, one.seeds[:_SEEDS_NAMED]))
        yield render.labelled(
            [
                ("", ""),
                ("Broken", f"{one.promise}, {times(one.count, 'seed')}: {seeds}{more}"),
                ("Witness", one.witness),
            ]
        )
        yield from render.command_lines("Again", [one.reproduce])
    if result.unknown is not None:
        yield render.labelled(
            [("", ""), ("Unknown", f"seed {result.unknown.seed}: {result.unknown.why}")]
        )
        yield from render.command_lines("Again", [result.unknown.reproduce])
