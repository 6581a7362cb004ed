"""The page `docs/ablations.md`: what breaks without each pattern, and what each costs.

`python -m lab.cli.ablations` makes its hundred runs on all cores and writes it; a test makes some
of them again and compares. Not here: the ablation itself (`lab.explore.ablation`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.cli.ablate import TITLES, number, said
from lab.explore.ablation import Ablation, AblationResult, AblationRun
from lab.explore.spread import cores, workers
from lab.scenarios.loader import load_catalogue
from lab.scenarios.run_options import RunOptions

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "ablations.md"

_OPENING: Final = """\
# Ablations

<!-- Made by `python -m lab.cli.ablations`; changes here are lost. -->

Each scenario of the catalogue is run with all patterns under seed 1, and then once more for each
pattern that it teaches, with that pattern off and the same faults. `lab ablate` prints the same;
[Search, shrink, ablate](search-and-shrink.md#what-a-pattern-is-good-for) says how it is made.

Numbers are what the pattern costs: with it minus without it. Deliveries, attempts and calls to
third parties are per order; p50 and p99 are of the time from the request to the end of the order,
on the simulated clock; the last column is orders that came to their end, a second of the run. Where
something breaks, the run without the pattern left work undone, and its numbers show that too. A
star: a fault is a state of a third party, and meets the calls that the pattern kept away as well.
"""


def page(result: AblationResult) -> str:
    """The page of a whole catalogue."""
    titles = ("scenario", "off", "without it", *(title.lower() for title in TITLES.values()))
    lines = [_line(titles), _line(["---"] * len(titles))]
    return "\n".join([_OPENING, *lines, *map(row_line, result.rows)]) + "\n"


def row_line(row: AblationRun) -> str:
    """The line of one row."""
    assert row.price is not None, "only a row without a pattern has a price"
    star = " *" if row.plan == "keyed" else ""
    costs = [number(getattr(row.price, name), is_signed=True) for name in TITLES]
    return _line([row.scenario, " + ".join(row.off) + star, said(row), *costs])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _main() -> None:
    names = [one.name for one in load_catalogue().values() if one.patterns]
    ablation = Ablation([RunOptions(scenario=name) for name in names], teach_only=True)
    with workers(jobs=cores()) as pool:
        ablation.go_on(pool)
    FILE.write_text(page(ablation.result()), encoding="utf-8")


if __name__ == "__main__":
    _main()
