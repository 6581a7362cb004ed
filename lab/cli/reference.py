"""The reference pages of `docs/reference/`, made from the tables that the code itself uses.

`python -m lab.cli.reference` writes them; a test compares. Not here: explanations, which are the
rest of `docs/`.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from lab.bench.bench import BenchReport
from lab.bench.figures import Figure
from lab.bench.parts import REAL, SIMULATED, BenchPart
from lab.bench.real import RealReport
from lab.bench.real_figures import prototypes as real_figures
from lab.bench.real_rounds import REAL as REAL_SIZES
from lab.bench.report import report_schema
from lab.bench.rounds import DEFAULT
from lab.bench.simulated_figures import prototypes as simulated_figures
from lab.checks.registry import PROMISES
from lab.checks.run_numbers import DEEDS
from lab.cli.exit_codes import MEANINGS
from lab.cli.list_ import beyond_of, needs_for_real
from lab.faults.table.crash_points import CRASH_POINTS
from lab.faults.table.kinds import KINDS
from lab.faults.table.row import FaultKind
from lab.openapi import openapi_document
from lab.patterns import PATTERNS
from lab.report.result import result_schema
from lab.scenarios.loader import load_catalogue
from lab.scenarios.scenario import WORLDS, Scenario
from lab.settings_table import SETTINGS
from lab.wiring.many_runs import SMALL

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "reference"
_MADE: Final = "<!-- Made by `python -m lab.cli.reference`; changes here are lost. -->\n"
_HAVE_LATENCY: Final = ("latency", "run")
_KEYS: Final = """\
Every fault: `rate` (0 to 1), `nth`, `first`, `every` (visits of one order to one site), `at` and
`for` (such as `30s`), `max` (over the run). Beside them:
"""


def pages() -> Mapping[str, str]:
    """Every page by its file name."""
    return {
        "README.md": _index(),
        "bench.md": _bench(),
        "bench.schema.json": report_schema(BenchReport, "lab bench").decode(),
        "bench-real.schema.json": report_schema(RealReport, "lab bench --real").decode(),
        "exit-codes.md": _page(
            "Exit codes",
            "The exit code of a command, and its meaning.",
            _table(
                ("code", "name", "meaning"),
                ((str(code.value), code.name, meaning) for code, meaning in MEANINGS.items()),
            ),
        ),
        "faults.md": _faults(),
        "openapi.json": openapi_document().decode(),
        "patterns.md": _page(
            "Patterns",
            "Each is a file in `lab/patterns/` and a switch of `--off`; `lab list --patterns`.",
            "\n".join(_patterns()),
        ),
        "promises.md": _page(
            "Promises",
            "Every run is judged by all of them, whatever the scenario; `lab list --promises`.",
            _table(
                ("promise", "kind", "in a sentence"),
                ((f"`{one.name}`", one.kind, one.sentence) for one in PROMISES),
            ),
        ),
        "result.schema.json": result_schema().decode(),
        "scenarios.md": _scenarios(),
        "settings.md": _settings(),
    }


def write(folder: Path) -> None:
    """Write every page into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


def _index() -> str:
    links = (
        ("scenarios.md", "experiments to run"),
        ("faults.md", "failures to inject, and how they are written"),
        ("patterns.md", "remedies, which can be switched off"),
        ("promises.md", "sentences by which every run is judged"),
        ("settings.md", "policies, with unit and default"),
        ("exit-codes.md", "exit codes of the commands"),
        ("bench.md", "figures of `lab bench`, by the names that `--only` takes"),
        ("bench.schema.json", "JSON Schema of the output of `lab bench --json`"),
        ("bench-real.schema.json", "JSON Schema of the output of `lab bench --real --json`"),
        ("openapi.json", "OpenAPI document of the orders API, as `GET /openapi.json` answers it"),
        ("result.schema.json", "JSON Schema of `result.json`, which `--json` prints too"),
    )
    lines = [f"- [{name}]({name}): {contents}" for name, contents in links]
    return _page("Reference", "Made from the tables that the code uses.", "\n".join(lines))


def _bench() -> str:
    columns = ("`--only`", "measured", "what", "figures (unit)")
    simulated = simulated_figures(DEFAULT, [part.name for part in SIMULATED])
    real = real_figures(REAL_SIZES, [part.name for part in REAL])
    return _page(
        "Figures of the bench",
        "`lab bench` measures what is usual; `--only NAME` one part or a few, those on request "
        "too. The names of figures are those that `--threshold` takes. See "
        "[The bench](../bench.md).",
        "\n".join(
            (
                "## Simulated\n",
                _table(columns, _parts(SIMULATED, simulated)),
                "## With `--real`\n",
                _table(columns, _parts(REAL, real)),
            )
        ),
    )


def _parts(parts: Sequence[BenchPart], figures: Sequence[Figure]) -> Iterator[Sequence[str]]:
    for part in parts:
        names = [f"`{one.name}` ({one.unit})" for one in figures if one.part == part.name]
        if part.name in _HAVE_LATENCY:
            names += ["`p50`, `p95`, `p99`, `max`, `orders/s`"]
        when = "usual" if part.is_usual else "on request"
        yield f"`{part.name}`", when, part.about, ", ".join(names)


def _settings() -> str:
    rows = (
        (
            f"`{one.name}`",
            _value(one.simulated),
            _value(one.wall_clock),
            one.unit,
            f"{one.meaning} ({' or '.join(one.choices)})" if one.choices else one.meaning,
        )
        for one in SETTINGS
    )
    return _page(
        "Settings",
        "Changed by `--set KEY=VALUE`, by a scenario's `set`, by `LAB_SET_RETRY_ATTEMPTS_MAX` and "
        "the like; `lab list --settings`.",
        _table(("setting", "simulated", "wall clock", "unit", "meaning"), rows) + _small(),
    )


def _small() -> str:
    """How to make many runs of a few orders."""
    flags = " ".join(f"--set {name}={value}" for name, value in SMALL.items())
    return (
        "\n\n## Small runs\n\n"
        "A run of one order is set-up for the most part: processes, workers, lanes of the relay. A "
        f"few orders need fewer: `{flags}`. `lab bench` measures what that gains (`runs a second, "
        "1 order`). It is another run, with another digest: deliveries of one group wait for each "
        "other sooner."
    )


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _faults() -> str:
    kinds = (
        (f"`{one.name}`", one.per, _worlds(one.worlds), f"{one.summary}{_beyond(one)}")
        for one in KINDS.values()
    )
    sites = (
        (f"`{one.name}`", ", ".join(f"`{site}`" for site in one.sites))
        for one in KINDS.values()
        if one.name != "proc.crash"
    )
    keys = (
        (f"`{one.name}`", f"`{param.name}`", str(param.type), param.meaning)
        for one in KINDS.values()
        for param in one.params
    )
    points = ((f"`{name}`", where) for name, where in CRASH_POINTS.items())
    parts = (
        _table(("fault", "its rate is per", "world", "what happens"), kinds),
        "## Sites\n",
        _table(("fault", "sites"), sites),
        "## Keys\n",
        _KEYS,
        _table(("fault", "key", "value", "meaning"), keys),
        "## Crash points\n",
        "Sites of `proc.crash`. With `at=2s` it takes a process such as `payment` or `relay`.\n",
        _table(("site", "where it lies"), points),
    )
    return _page(
        "Faults",
        "Written `kind[@site][#orders][:occurrence] key=value ...`, for `--fault` and a "
        "scenario's `faults`: `bus.duplicate rate=0.2`, `svc.timeout@payment_gateway#every25 "
        "first=1`, `proc.crash@relay.after_publish#7`. Orders are `#7`, `#1-20` or `#every25`.",
        "\n".join(parts),
    )


def _worlds(worlds: Sequence[str]) -> str:
    return "both" if tuple(worlds) == WORLDS else ", ".join(worlds)


def _beyond(kind: FaultKind) -> str:
    needy = ", ".join(f"`{value}`" for value in beyond_of(kind))
    return f"; {needy} needs `--beyond-contract`" if needy else ""


def _patterns() -> Iterable[str]:
    yield _table(
        ("pattern", "prevents", "when off"),
        ((f"`{one.name}`", one.prevents, one.when_off) for one in PATTERNS),
    )
    yield "## Counts\n"
    yield (
        "Counted in every run: `patterns[].acted` of `result.json`, `Acted` on the page. A goal "
        "may\nname one: `retry.recovered >= 1`. A pattern that was on and of which nothing was "
        "counted\nstands under `Not provoked`.\n"
    )
    yield _table(
        ("pattern", "counted", "meaning"),
        (
            (f"`{pattern}`", f"`{deed}`", meaning)
            for pattern, deeds in DEEDS.items()
            for deed, meaning in deeds.items()
        ),
    )


def _scenarios() -> str:
    return _page(
        "Scenarios",
        "Run one by `lab run NAME`; `lab list NAME` tells its story too.",
        "\n".join(_scenario(one) for one in load_catalogue().values()),
    )


def _scenario(scenario: Scenario) -> str:
    lists: Sequence[tuple[str, Sequence[str]]] = (
        ("worlds", scenario.worlds),
        ("spike", [] if scenario.spike is None else [str(scenario.spike)]),
        ("faults", scenario.faults),
        ("swarm", ["true"] if scenario.swarm else []),
        ("patterns", scenario.patterns),
        ("promises at risk", scenario.promises),
        ("goals", scenario.goals),
        ("settings", [f"{key} = {value}" for key, value in scenario.settings.items()]),
        ("next", scenario.next),
    )
    lines = [
        f"- {name}: {', '.join(f'`{entry}`' for entry in entries)}"
        for name, entries in lists
        if entries
    ]
    if needs := needs_for_real(scenario):
        lines.insert(1, f"- for real: with {needs}")
    return "\n".join(
        [
            f"## {scenario.name}\n",
            f"{scenario.summary.capitalize()}.\n",
            scenario.story,
            "",
            *lines,
            "",
        ]
    )


def _page(title: str, opening: str, text: str) -> str:
    return f"# {title}\n\n{_MADE}\n{opening}\n\n{text.rstrip()}\n"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
