"""`lab list`: scenarios, faults, patterns, settings and promises, and the runs that are kept.

Not here: the tables themselves, which stand where they are used, and their looks (`render`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.measures import age, size
from lab.cli.output import print_message, print_result

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lab.faults.table.row import FaultKind
    from lab.scenarios.scenario import Scenario

Row = Mapping[str, object]

_OUTAGE_NEEDS: Final = "servers of scripts/servers, which the lab may stop; not those of Docker"
_MOVE_NEEDS: Final = "three brokers: scripts/servers up --brokers 3; not those of Docker"


class Places(NamedTuple):
    """The files that a list may need.

    Attributes:
        scenarios: TOML files with scenarios, beside the shipped ones.
        runs: folder of kept runs.
    """

    scenarios: Sequence[Path]
    runs: Path = options.DEFAULT_OUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One form of the list: its rows as `--json` prints them, and the columns that people see.

    Attributes:
        below: makes the text under the table.
    """

    columns: tuple[str, ...]
    rows: Callable[[Places], Iterable[Row]]
    below: "Callable[[], Sequence[RenderableType]]" = tuple


def list_(
    name: options.ScenarioName = None,
    *,
    toml: Annotated[
        bool, typer.Option("--toml", help="Print the scenario as a start for one of your own.")
    ] = False,
    settings: Annotated[bool, typer.Option("--settings", help="Policies, for --set.")] = False,
    faults: Annotated[bool, typer.Option("--faults", help="Faults, for --fault.")] = False,
    promises: Annotated[bool, typer.Option("--promises", help="Promises, for --only.")] = False,
    patterns: Annotated[bool, typer.Option("--patterns", help="Patterns, for --off.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help="Kept runs, the newest first.")] = False,
    scenarios: options.Scenarios = None,
    out: options.Out = None,
    keep_runs: options.KeepRuns = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON array of objects.")] = False,
    no_color: options.NoColor = False,
) -> int:
    """List the scenarios, or tell the story of one."""
    values = FlagValues()
    is_json, is_plain = values.switch("json", flag=json), values.switch("no-color", flag=no_color)
    files = tuple(Path(path) for path in values.many("scenarios", scenarios))
    folder = values.matching("out", out, r".+", "the name of a folder")
    places = Places(files, options.DEFAULT_OUT if folder is None else Path(folder))
    switches = {
        "settings": settings,
        "faults": faults,
        "promises": promises,
        "patterns": patterns,
        "runs": runs,
    }
    forms = [form for form, is_on in switches.items() if is_on]
    _refuse_mixtures(name, forms, is_toml=toml, is_json=is_json)
    if runs:
        prune(places.runs, options.read_keep_runs(values, keep_runs))
    elif keep_runs is not None:
        raise OptionError("--keep-runs is of kept runs: lab list --runs --keep-runs N")
    if name:
        scenario = _find_scenario(name, files)
        print_result(_about_one(scenario, is_toml=toml, is_json=is_json, is_plain=is_plain))
    else:
        table = TABLES[forms[0] if forms else "scenarios"]
        rows = list(table.rows(places))
        print_result(_json(rows) if is_json else _text(_shown(table, rows), is_plain=is_plain))
    return ExitCode.PASS


def prune(out: Path, keep: int | None) -> None:
    """Remove all kept runs but the newest `keep`; None: none."""
    if keep is None:
        return
    from lab.report.kept_runs import prune_runs

    gone = prune_runs(out, keep)
    if gone:
        from lab.checks.check import times

        print_message(f"lab: removed {times(len(gone), 'older run')} from {out}")


def scenario_lines(scenarios: Sequence[Path], *, is_plain: bool) -> str:
    """Names and summaries of all scenarios, as `lab list` prints them."""
    table = TABLES["scenarios"]
    rows = list(table.rows(Places(scenarios=scenarios)))
    return _text(_shown(table, rows), is_plain=is_plain)


def _about_one(
    scenario: "Scenario", *, is_toml: bool, is_json: bool, is_plain: bool
) -> str | bytes:
    """One scenario: its table, its fields, or its story."""
    from lab.scenarios.loader import toml_of

    if is_toml:
        return toml_of(scenario)
    if is_json:
        return _json([scenario_row(scenario)])
    return _text(_story(scenario), is_plain=is_plain)


def _refuse_mixtures(
    name: str | None, forms: Sequence[str], *, is_toml: bool, is_json: bool
) -> None:
    given = [f"--{form}" for form in forms] + (["--toml"] if is_toml else [])
    if len(given) > 1 or (name and forms):
        both = " and ".join([*([name] if name else []), *given][:2])
        raise OptionError(f"{both} are two lists: ask for one at a time")
    if is_toml and not name:
        raise OptionError("--toml prints one scenario: lab list NAME --toml")
    if is_toml and is_json:
        raise OptionError("--toml and --json contradict each other: leave one out")


def _scenarios(places: Places) -> Iterable[Row]:
    from lab.scenarios.loader import load_catalogue

    for scenario in load_catalogue(places.scenarios).values():
        yield scenario_row(scenario)


def scenario_row(scenario: "Scenario") -> Row:
    """A scenario as `lab list --json` prints it."""
    return {
        "name": scenario.name,
        "summary": scenario.summary,
        "patterns": scenario.patterns,
        "promises": scenario.promises,
        "worlds": scenario.worlds,
        "orders": scenario.orders,
        "rate": scenario.rate,
        "spike": None if scenario.spike is None else str(scenario.spike),
        "orders_from": scenario.orders_from,
        "faults": scenario.faults,
        "swarm": scenario.swarm,
        "goals": scenario.goals,
        "next": scenario.next,
        "set": dict(scenario.settings),
        "story": scenario.story,
    }


def _settings(_places: Places) -> Iterable[Row]:
    from lab.settings_table import SETTINGS

    for one in SETTINGS:
        yield {
            "name": one.name,
            "simulated": one.simulated,
            "wall_clock": one.wall_clock,
            "unit": one.unit,
            "meaning": f"{one.meaning} ({' or '.join(one.choices)})"
            if one.choices
            else one.meaning,
        }


def _faults(_places: Places) -> Iterable[Row]:
    from lab.faults.table.kinds import KINDS

    for kind in KINDS.values():
        yield {
            "name": kind.name,
            "per": kind.per,
            "sites": kind.sites,
            "worlds": kind.worlds,
            "beyond_contract": beyond_of(kind),
            "keys": [f"{one.name}={one.type}: {one.meaning}" for one in kind.params],
            "summary": kind.summary,
        }


def beyond_of(kind: "FaultKind") -> tuple[str, ...]:
    """The parts of a kind that need `--beyond-contract`: all of it, or some values of its keys."""
    if kind.beyond_contract:
        return (kind.name,)
    return tuple(f"{one.name}={value}" for one in kind.params for value in one.beyond_contract)


def _how_to_write_faults() -> "Sequence[RenderableType]":
    from lab.cli import render
    from lab.faults.table.crash_points import CRASH_POINTS
    from lab.faults.table.kinds import KINDS

    sites = [
        (kind.name, ", ".join(kind.sites)) for kind in KINDS.values() if kind.name != "proc.crash"
    ]
    beyond = [(kind.name, ", ".join(beyond_of(kind))) for kind in KINDS.values() if beyond_of(kind)]
    return [
        _FAULT_FORM,
        render.listing(["Fault", "Sites"], sites),
        "\nBeyond what the design promises, so only with --beyond-contract:",
        render.listing(["Fault", "With"], beyond),
        "\nSites of proc.crash; with at=2s instead: a process, such as payment.",
        render.listing(["Point", "Where it lies"], list(CRASH_POINTS.items())),
    ]


def _promises(_places: Places) -> Iterable[Row]:
    from lab.checks.registry import PROMISES

    for one in PROMISES:
        yield {"name": one.name, "kind": one.kind, "promise": one.sentence}


def _patterns(_places: Places) -> Iterable[Row]:
    from lab.patterns import PATTERNS

    for one in PATTERNS:
        yield {"name": one.name, "prevents": one.prevents, "when_off": one.when_off}


def _runs(places: Places) -> Iterable[Row]:
    import time

    from lab.report.kept_runs import kept_runs

    now_s = time.time()
    for run in kept_runs(places.runs):
        yield {
            "scenario": run.scenario,
            "seed": run.seed,
            "verdict": run.verdict,
            "mode": run.mode,
            "digest": run.digest,
            "began": run.began,
            "age": age(now_s - _instant_s(run.began)) if run.began else "?",
            "bytes": run.bytes_kept,
            "size": size(run.bytes_kept),
            "path": run.path,
            "reproduce": run.reproduce,
        }


def _instant_s(began: str) -> float:
    return datetime.fromisoformat(began).timestamp()


_BOTH_WORLDS: Final = ("simulated", "real")

_FAULT_FORM: Final = """
Written kind[@site][#orders][:occurrence] key=value ..., with the keys rate, nth, first, every, at,
for, max and those of the kind. Sites:"""

TABLES: Final[Mapping[str, Table]] = {
    "scenarios": Table(columns=("name", "summary", "patterns"), rows=_scenarios),
    "settings": Table(columns=("name", "simulated", "unit", "meaning"), rows=_settings),
    "faults": Table(
        columns=("name", "per", "worlds", "summary"), rows=_faults, below=_how_to_write_faults
    ),
    "promises": Table(columns=("name", "kind", "promise"), rows=_promises),
    "patterns": Table(columns=("name", "prevents", "when_off"), rows=_patterns),
    "runs": Table(columns=("path", "verdict", "size", "age"), rows=_runs),
}
"""Every form of the list."""


def _find_scenario(name: str, files: Sequence[Path]) -> "Scenario":
    from lab.scenarios.loader import find_scenario, load_catalogue

    return find_scenario(load_catalogue(files), name)


def _json(rows: Iterable[Row]) -> bytes:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(list(rows)), indent=2) + b"\n"


def _text(parts: "Sequence[RenderableType]", *, is_plain: bool) -> str:
    from lab.cli import render

    width = render.width_of_output()
    return render.to_text(parts, width=width, is_plain=is_plain)


def _shown(table: Table, rows: Sequence[Row]) -> "list[RenderableType]":
    from lab.cli import render

    if not rows:
        return ["nothing yet"]
    cells = [[_cell(row[column]) for column in table.columns] for row in rows]
    titles = [column.replace("_", " ").capitalize() for column in table.columns]
    return [render.listing(titles, cells), *table.below()]


def _cell(value: object) -> str:
    if value == _BOTH_WORLDS:
        return "both"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _story(scenario: "Scenario") -> "list[RenderableType]":
    """A scenario for people: its story, the patterns against it, commands to try."""
    from lab.cli import render
    from lab.patterns import PATTERNS

    prevents = {one.name: one.prevents for one in PATTERNS}
    facts = [("Orders", _how_many(scenario))]
    facts += [("Fault", fault) for fault in scenario.faults]
    facts += [("Fault", "the seed draws kinds, sites, rates and times; policies too")] * (
        scenario.swarm
    )
    needs = needs_for_real(scenario)
    facts += [("For real", f"with {needs}")] if needs else []
    facts += [("Pattern", f"{name}: against {prevents[name]}") for name in scenario.patterns]
    facts += [("At risk", ", ".join(scenario.promises))] if scenario.promises else []
    facts += [("Goal", goal) for goal in scenario.goals]
    facts += [("Set", f"{key} = {value}") for key, value in scenario.settings.items()]
    run = f"lab run {scenario.name}"
    if Path(scenario.source).name != "scenarios.toml":
        run += f" --scenarios {scenario.source}"
    return [
        f"{scenario.name}: {scenario.summary}",
        "",
        *([" ".join(scenario.story.split()), ""] if scenario.story else []),
        render.labelled(facts),
        *render.command_lines("Run", [run]),
        *render.command_lines("Next", scenario.next),
    ]


def needs_for_real(scenario: "Scenario") -> str:
    """The servers that a real run of it needs, as it stops some; "" if any will do."""
    from lab.faults.table.bus import LEADER_MOVE
    from lab.faults.table.kinds import KINDS
    from lab.faults.table.spec import parse_faults
    from lab.scenarios.scenario import REAL

    faults = parse_faults(scenario.faults)
    kinds = [fault.kind for fault in faults] if REAL in scenario.worlds else []
    if LEADER_MOVE in kinds:
        return _MOVE_NEEDS
    return _OUTAGE_NEEDS if any(KINDS[kind].is_outage for kind in kinds) else ""


def _how_many(scenario: "Scenario") -> str:
    count = "all" if scenario.orders is None and scenario.orders_from else scenario.orders or "100"
    source = f" of {scenario.orders_from}" if scenario.orders_from else ""
    pace = "their recorded times" if scenario.orders_from else "20 a second"
    if scenario.rate is not None:
        pace = f"{scenario.rate:g} a second"
    if scenario.spike is not None:
        pace += f", spike {scenario.spike}"
    return f"{count}{source}, at {pace}"
