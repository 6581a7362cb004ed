"""The page `docs/ablations.md`: every scenario without each pattern that it teaches, as a table.

`python -m lab.cli.ablations` makes it, by the runs of `lab ablate` (minutes of processor time); a
test makes a part of it again and compares. Not here: the pages that need no run (`reference`).
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.cli.ablate import TITLES, number, said

if TYPE_CHECKING:
    from lab.explore.ablation import AblationResult, AblationRun

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "ablations.md"
_HEAD: Final = """\
# What breaks without each pattern

<!-- Made by `python -m lab.cli.ablations`; changes here are lost. -->

Each scenario that teaches a pattern: with every pattern, in measures; then without one of its own,
under the same recorded faults. Those rows have the price of the pattern, with it minus without it,
so a sign - means that the run is cheaper with it. Deliveries, attempts and calls are per order, and
times are virtual. A run that breaks a promise may be cheaper: it leaves work undone. `lab ablate
NAME` prints the same; see [how to read it](search-and-shrink.md#what-a-pattern-is-good-for).
"""
_STAR: Final = "\n\\* a fault is a state of a third party: it meets whoever calls.\n"


def page(result: "AblationResult") -> str:
    """The page of an ablation of the whole catalogue."""
    lines = [_HEAD, *_table(result), _STAR]
    return "\n".join(lines)


def rows_of(base: "AblationRun", rows: "Sequence[AblationRun]") -> Iterator[str]:
    """The lines of one scenario."""
    star = " \\*" if base.plan == "keyed" else ""
    yield _line(f"`{base.scenario}`{star}", "", said(base), base)
    for row in rows:
        off = ", ".join(f"`{one}`" for one in row.off)
        yield _line("", off, said(row), row)


def main() -> int:
    """Make every run and write the page; the exit code."""
    from lab.explore.ablation import Ablation
    from lab.explore.spread import cores, workers
    from lab.scenarios.loader import load_catalogue
    from lab.scenarios.run_options import RunOptions

    asked = [RunOptions(scenario=one.name) for one in load_catalogue().values() if one.patterns]
    ablation = Ablation(asked, teach_only=True)
    with workers(jobs=cores()) as crew:
        ablation.go_on(crew)
    PAGE.write_text(page(ablation.result()), encoding="utf-8")
    return 0


def _table(result: "AblationResult") -> Iterator[str]:
    titles = ("Scenario", "Off", "Outcome", *TITLES.values())
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for base in result.with_all:
        rows = [row for row in result.rows if row.scenario == base.scenario]
        yield from rows_of(base, rows)


def _line(name: str, off: str, outcome: str, run: "AblationRun") -> str:
    measures = run.price or run.measures
    cells = [
        number(getattr(measures, measure), is_signed=run.price is not None) for measure in TITLES
    ]
    return f"| {' | '.join((name, off, outcome, *cells))} |"


if __name__ == "__main__":
    sys.exit(main())
