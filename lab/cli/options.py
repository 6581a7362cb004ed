"""The options of everything that runs: their help, and their values out of flags and `LAB_*`.

A flag goes before its variable, and both go before the scenario's own value. Not here: whether a
scenario, pattern, promise, policy or fault exists, which those who know them say.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypedDict

import typer

from lab.cli.flag_values import Flags, Given, OptionError

if TYPE_CHECKING:
    from lab.scenarios.scenario import Scenario

DEFAULT_SEED: Final = 1
DEFAULT_OUT: Final = Path("runs")
SEEDS_MAX: Final = 1_000_000

HistoryKept = Literal["witnesses", "all"]


def complete_scenario(incomplete: str) -> list[str]:
    """Names of shipped scenarios for the shell, without reading what they mean."""
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
Seed = Annotated[
    str | None,
    typer.Option("--seed", metavar="N", help="Root of all chance: same seed, same run.  [1]"),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="1-20",
        help="One run a seed, a line each and a summary; keeps files only with --out.",
    ),
]
Orders = Annotated[
    str | None,
    typer.Option("--orders", metavar="N", help="How many orders are posted.  [the scenario's]"),
]
Rate = Annotated[
    str | None,
    typer.Option(
        "--rate", metavar="R", help="Orders a second, in simulated time.  [the scenario's]"
    ),
]
OrdersFrom = Annotated[
    str | None,
    typer.Option(
        "--orders-from",
        metavar="FILE",
        help="Real orders: NDJSON or CSV, plain or gzip; `sample` is the shipped file. "
        "They come at their recorded times, or at --rate.",
    ),
]
Speed = Annotated[
    str | None,
    typer.Option("--speed", metavar="X", help="Compress recorded times by this factor.  [1]"),
]
Faults = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="SPEC",
        help='Add a fault, such as "bus.duplicate rate=0.2"; see `lab list --faults`. Repeatable.',
        show_default=False,
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
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="CHECK",
        help="Judge only this promise; see `lab list --promises`. Repeatable, or a,b.",
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
History = Annotated[
    str | None,
    typer.Option(
        "--history",
        metavar="all",
        help="Keep every entry; else runs over 2,000 orders keep those of witness orders.",
    ),
]
BeyondContract = Annotated[
    bool,
    typer.Option(
        "--beyond-contract",
        help="Allow what the design does not promise to survive; the verdict is UNKNOWN then.",
    ),
]
Html = Annotated[
    str | None,
    typer.Option(
        "--html", metavar="FILE", help="Write the report of the run too; see `lab report`."
    ),
]
Junit = Annotated[
    str | None,
    typer.Option(
        "--junit",
        metavar="FILE",
        help="Write JUnit XML for build servers too: a test case a promise, or a seed.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", help="Print the verdict line only; with --seeds what did not pass."),
]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colour (as the variable NO_COLOR).")]


Real = Annotated[
    bool,
    typer.Option(
        "--real", help="Real processes on Kafka, PostgreSQL and Redis; see `lab up`, `lab status`."
    ),
]
Bus = Annotated[
    str | None,
    typer.Option("--bus", metavar="MAKE", help="memory or kafka; the rest as it is.  [memory]"),
]
Store = Annotated[
    str | None, typer.Option("--store", metavar="MAKE", help="memory or postgres.  [memory]")
]
DedupeMake = Annotated[
    str | None, typer.Option("--dedupe", metavar="MAKE", help="memory or redis.  [memory]")
]
WallClock = Annotated[
    bool, typer.Option("--wall-clock", help="Run on the wall clock, also if all is in memory.")
]
Keep = Annotated[bool, typer.Option("--keep", help="Leave topics, schema and keys of a real run.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user asked for, parsed; None and () where nothing was said.

    Attributes:
        made: the scenario, if it stands in no catalogue.
    """

    scenario: str
    real: bool
    bus: str
    store: str
    dedupe: str
    wall_clock: bool
    keep: bool
    seed: int
    seeds: str | None
    orders: int | None
    rate: float | None
    orders_from: str | None
    speed: float
    faults: tuple[str, ...]
    off: tuple[str, ...]
    settings: Mapping[str, str]
    only: tuple[str, ...]
    scenarios: tuple[Path, ...]
    out: Path | None
    history: HistoryKept
    beyond_contract: bool
    html: Path | None
    junit: Path | None
    json: bool
    quiet: bool
    no_color: bool
    made: "Scenario | None" = None

    @property
    def experiment(self) -> "str | Scenario":
        """The scenario to run: one of a catalogue by its name, or the one made here."""
        return self.made or self.scenario


def ask(scenario: str, flags: Flags) -> Asked:
    """Everything that was asked for.

    Raises:
        OptionError: a value cannot be used.
        SettingError: a `LAB_SET_*` variable names no policy.
    """
    given = Given(flags)
    if flags.get("seed") is not None and flags.get("seeds") is not None:
        raise OptionError("--seed and --seeds contradict each other: leave one out")
    seed, speed, out = given.whole("seed"), given.number("speed"), given.text("out")
    seeds, orders_from = flags.get("seeds"), given.text("orders-from")
    if seeds is not None and given.switch("keep"):
        raise OptionError("--keep is of one run, whose page names what it left: use --seed N")
    html, junit = given.text("html"), given.text("junit")
    if seeds is not None and html is not None:
        raise OptionError(f"{html[0]} is of one run: use --seed N (--junit takes many seeds)")
    return Asked(
        scenario=scenario,
        **_makes(given),
        seed=DEFAULT_SEED if seed is None else seed,
        seeds=seeds if isinstance(seeds, str) else None,
        orders=given.whole("orders"),
        rate=given.number("rate"),
        orders_from=None if orders_from is None else orders_from[1],
        speed=1.0 if speed is None else speed,
        faults=given.many("fault"),
        off=given.many("off", separator=","),
        settings=given.changes(),
        only=given.many("only", separator=","),
        scenarios=tuple(Path(path) for path in given.many("scenarios")),
        out=None if out is None else Path(out[1]),
        history="all" if given.word("history", ("all", "witnesses")) == "all" else "witnesses",
        beyond_contract=given.switch("beyond-contract"),
        html=None if html is None else Path(html[1]),
        junit=None if junit is None else Path(junit[1]),
        json=given.switch("json"),
        quiet=given.switch("quiet"),
        no_color=given.switch("no-color"),
    )


class _Makes(TypedDict):
    """Which world."""

    real: bool
    bus: str
    store: str
    dedupe: str
    wall_clock: bool
    keep: bool


def _makes(given: Given) -> _Makes:
    real, wall_clock = given.switch("real"), given.switch("wall-clock")
    bus, store, dedupe = (
        given.word("bus", ("memory", "kafka")) or "memory",
        given.word("store", ("memory", "postgres")) or "memory",
        given.word("dedupe", ("memory", "redis")) or "memory",
    )
    parts = [given.text(name) for name in ("bus", "store", "dedupe")]
    if real and (wall_clock or any(parts)):
        raise OptionError("--real is all real parts: leave --bus, --store, --dedupe out")
    keep = given.switch("keep")
    if keep and not real and (bus, store, dedupe) == ("memory", "memory", "memory"):
        raise OptionError("--keep is of what a real part makes: add --real, or --bus kafka")
    return _Makes(
        real=real,
        bus=bus,
        store=store,
        dedupe=dedupe,
        wall_clock=wall_clock,
        keep=keep,
    )


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
