"""The flags of everything that runs, with their help, and the options of a run out of them.

A flag goes before its `LAB_*` variable, and both go before the scenario's own value. Not here:
whether a scenario, pattern, promise, policy or fault exists, which their own modules know.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from lab.cli.flag_values import FlagValues, OptionError

if TYPE_CHECKING:
    from lab.scenarios.run_options import HistoryKept, RunOptions

DEFAULT_OUT: Final = Path("runs")
SEEDS_MAX: Final = 1_000_000


def complete_scenario(incomplete: str) -> list[str]:
    """Names of shipped scenarios for the shell, read off their file and nothing else."""
    import tomllib

    from lab.resources import resource_path

    names = tomllib.loads(resource_path("scenarios.toml").read_text("utf-8"))["scenarios"]
    return [name for name in names if name.startswith(incomplete)]


ScenarioName = Annotated[
    str | None,
    typer.Argument(
        metavar="SCENARIO",
        help="One of `lab list`.",
        show_default=False,
        autocompletion=complete_scenario,
    ),
]
Off = Annotated[
    list[str] | None,
    typer.Option(
        "--off",
        metavar="PATTERN",
        help="Switch a pattern off; see `lab list --patterns`. Repeatable, or a,b.",
        show_default=False,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a policy; see `lab list --settings`. Repeatable.",
        show_default=False,
    ),
]
Scenarios = Annotated[
    list[str] | None,
    typer.Option(
        "--scenarios",
        metavar="FILE",
        help="Add the scenarios of a TOML file of yours. Repeatable.",
        show_default=False,
    ),
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="DIR", help="Where folders of runs are kept.  [runs]"),
]
KeepRuns = Annotated[
    str | None,
    typer.Option(
        "--keep-runs", metavar="N", help="Remove all kept runs but the newest N.  [keep all]"
    ),
]
RunName = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="Folder or name of a kept run: `latest`, `latest~1`, `duplicates`.  [latest]",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colour (as the variable NO_COLOR).")]


class Flags(ABC):
    """The flags of a command that has many, as the shell gave them.

    Such a command is a class: its fields are the flags, its docstring is the help, and `execute`
    does the work. Two slotted classes cannot be the bases of one, so these have no slots; and
    `lab --help` would wait for methods that nobody calls, so they are neither compared nor printed.
    """

    @abstractmethod
    def execute(self) -> int:
        """Do the work of the command; returns its exit code."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RunFlags(Flags):
    """The flags of a command that runs something. A subclass adds a scenario, or flags."""

    real: Annotated[
        bool,
        typer.Option(
            "--real",
            help="Real processes on Kafka, PostgreSQL and Redis; see `lab up`, `lab status`.",
        ),
    ] = False
    bus: Annotated[
        str | None,
        typer.Option(
            "--bus", metavar="BACKEND", help="memory or kafka; the rest as it is.  [memory]"
        ),
    ] = None
    store: Annotated[
        str | None, typer.Option("--store", metavar="BACKEND", help="memory or postgres.  [memory]")
    ] = None
    dedupe: Annotated[
        str | None, typer.Option("--dedupe", metavar="BACKEND", help="memory or redis.  [memory]")
    ] = None
    wall_clock: Annotated[
        bool, typer.Option("--wall-clock", help="Run on the wall clock, also if all is in memory.")
    ] = False
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave topics, schema and keys of a real run.")
    ] = False
    seed: Annotated[
        str | None,
        typer.Option("--seed", metavar="N", help="Root of all chance: same seed, same run.  [1]"),
    ] = None
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            metavar="1-20",
            help="One run a seed, a line each and a summary; keeps files only with --out.",
        ),
    ] = None
    orders: Annotated[
        str | None,
        typer.Option("--orders", metavar="N", help="How many orders are posted.  [the scenario's]"),
    ] = None
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate", metavar="R", help="Orders a second, in simulated time.  [the scenario's]"
        ),
    ] = None
    orders_from: Annotated[
        str | None,
        typer.Option(
            "--orders-from",
            metavar="FILE",
            help="Real orders: NDJSON or CSV, plain or gzip; `sample` is the shipped file, "
            "`-` standard input. "
            "They come at their recorded times, or at --rate.",
        ),
    ] = None
    speed: Annotated[
        str | None,
        typer.Option("--speed", metavar="X", help="Compress recorded times by this factor.  [1]"),
    ] = None
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="SPEC",
            help='Add a fault, such as "bus.duplicate rate=0.2"; see `lab list --faults`. '
            "Repeatable.",
            show_default=False,
        ),
    ] = None
    off: Off = None
    set_: Set = None
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="CHECK",
            help="Judge only this promise; see `lab list --promises`. Repeatable, or a,b.",
            show_default=False,
        ),
    ] = None
    scenarios: Scenarios = None
    out: Out = None
    keep_runs: KeepRuns = None
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            metavar="all",
            help="Keep every entry; else runs over 2,000 orders keep those of witness orders.",
        ),
    ] = None
    beyond_contract: Annotated[
        bool,
        typer.Option(
            "--beyond-contract",
            help="Allow more than the design promises to survive; the verdict is UNKNOWN then.",
        ),
    ] = False
    html: Annotated[
        str | None,
        typer.Option(
            "--html", metavar="FILE", help="Write the report of the run too; see `lab report`."
        ),
    ] = None
    junit: Annotated[
        str | None,
        typer.Option(
            "--junit",
            metavar="FILE",
            help="Write JUnit XML for build servers too: a test case a promise, or a seed.",
        ),
    ] = None
    ship: Annotated[
        bool, typer.Option("--ship", help="Ship logs and spans too; see `lab ship`.")
    ] = False
    json: Json = False
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", help="Print the verdict line only; with --seeds the seeds that did not pass."
        ),
    ] = False
    no_color: NoColor = False


class Display(NamedTuple):
    """How a result is shown.

    Attributes:
        json: as JSON, for programs.
        quiet: the verdict only, and no progress bar.
        no_color: without colours.
        html: the file that gets the report; None: no report.
        junit: the file that gets the promises as test cases; None: no file.
        ship: logs and spans go to Elasticsearch.
        keep_runs: so many of the kept runs stay, the newest; None: all.
    """

    json: bool
    quiet: bool
    no_color: bool
    html: Path | None = None
    junit: Path | None = None
    ship: bool = False
    keep_runs: int | None = None

    @property
    def wants_progress(self) -> bool:
        """Whether a long run may show a bar."""
        return not (self.quiet or self.json)


def read_display(flags: RunFlags) -> Display:
    """How the result is to be shown.

    Raises:
        OptionError: a variable cannot be used.
    """
    values = FlagValues()
    html, junit = values.text("html", flags.html), values.text("junit", flags.junit)
    ship = values.switch("ship", flag=flags.ship)
    if flags.seeds is not None and (html is not None or ship):
        name = "--html" if html is not None else "--ship"
        raise OptionError(f"{name} is of one run: use --seed N (--junit takes many seeds)")
    return Display(
        json=values.switch("json", flag=flags.json),
        quiet=values.switch("quiet", flag=flags.quiet),
        no_color=values.switch("no-color", flag=flags.no_color),
        html=None if html is None else Path(html),
        junit=None if junit is None else Path(junit),
        ship=ship,
        keep_runs=read_keep_runs(values, flags.keep_runs),
    )


def read_keep_runs(values: FlagValues, flag: str | None) -> int | None:
    """How many kept runs are to stay; None: all.

    Raises:
        OptionError: it is no whole number from 1.
    """
    keep = values.whole("keep-runs", flag)
    if keep == 0:
        raise OptionError("--keep-runs must be 1 or more: the newest run stays")
    return keep


def read_options(scenario: str, flags: RunFlags) -> "RunOptions":
    """The options of a run of `scenario`, by its name.

    Raises:
        OptionError: a value cannot be used, or two flags contradict each other.
        SettingError: a `LAB_SET_*` variable names no policy.
    """
    from lab.scenarios.run_options import RunOptions

    values = FlagValues()
    if flags.seed is not None and flags.seeds is not None:
        raise OptionError("--seed and --seeds contradict each other: leave one out")
    seed, speed = values.whole("seed", flags.seed), values.number("speed", flags.speed)
    out = values.matching("out", flags.out, r".+", "the name of a folder")
    keep = values.switch("keep", flag=flags.keep)
    if flags.seeds is not None and keep:
        raise OptionError("--keep is of one run, whose page names what it left: use --seed N")
    real, bus, store, dedupe, wall_clock = _read_world(values, flags)
    if keep and not real and (bus, store, dedupe) == ("memory", "memory", "memory"):
        raise OptionError("--keep is of what a real part makes: add --real, or --bus kafka")
    return RunOptions(
        scenario=scenario,
        real=real,
        bus=bus,
        store=store,
        dedupe=dedupe,
        wall_clock=wall_clock,
        keep=keep,
        seed=1 if seed is None else seed,
        orders=values.whole("orders", flags.orders),
        rate=values.number("rate", flags.rate),
        orders_from=values.text("orders-from", flags.orders_from),
        speed=1.0 if speed is None else speed,
        faults=values.many("fault", flags.fault),
        off=values.many("off", flags.off, separator=","),
        settings=values.policies(flags.set_),
        only=values.many("only", flags.only, separator=","),
        scenarios=tuple(Path(path) for path in values.many("scenarios", flags.scenarios)),
        history=_read_history(values, flags),
        out=None if out is None else Path(out),
        beyond_contract=values.switch("beyond-contract", flag=flags.beyond_contract),
    )


def _read_world(values: FlagValues, flags: RunFlags) -> tuple[bool, str, str, str, bool]:
    """`real`, `bus`, `store`, `dedupe` and `wall_clock` of `RunOptions`."""
    real = values.switch("real", flag=flags.real)
    wall_clock = values.switch("wall-clock", flag=flags.wall_clock)
    parts = (
        values.word("bus", flags.bus, ("memory", "kafka")),
        values.word("store", flags.store, ("memory", "postgres")),
        values.word("dedupe", flags.dedupe, ("memory", "redis")),
    )
    if real and (wall_clock or any(parts)):
        raise OptionError("--real is all real parts: leave --bus, --store, --dedupe out")
    bus, store, dedupe = (part or "memory" for part in parts)
    return real, bus, store, dedupe, wall_clock


def _read_history(values: FlagValues, flags: RunFlags) -> "HistoryKept":
    word = values.word("history", flags.history, ("all", "witnesses"))
    return "all" if word == "all" else "witnesses"


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds of `1-20`, `7`, or a comma list of both, in that order.

    Raises:
        OptionError: no such list, or more than a million seeds.
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,18})(?:-([0-9]{1,18}))?\s*", part)
        if found is None or int(found[2] or found[1]) < int(found[1]):
            raise OptionError(f"--seeds must be like 1-20 or 1,5,9-12, not {text!r}")
        first, last = int(found[1]), int(found[2] or found[1])
        if len(seeds) + last - first >= SEEDS_MAX:
            raise OptionError(f"--seeds {text} are more than {SEEDS_MAX:,}; take fewer")
        seeds.extend(range(first, last + 1))
    return tuple(dict.fromkeys(seeds))
