"""One run, decided in every detail: a scenario and the options of a run, checked and merged.

Not here: reading options off a command line (`lab.cli`), and building the world (`worlds`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

from lab import patterns
from lab.bus.memory.cluster import BROKERS
from lab.checks.registry import NAMES as PROMISE_NAMES
from lab.checks.verdict import parse_goal
from lab.did_you_mean import did_you_mean
from lab.domain.events import READS
from lab.faults.plan.file import Firing
from lab.faults.plan.plan import FaultPlan
from lab.faults.table.bus import LEADER_MOVE
from lab.faults.table.kinds import KINDS
from lab.faults.table.spec import FaultError, FaultSpec, parse_fault
from lab.history.recorder import Sink
from lab.scenarios.loader import (
    MAX_ORDERS,
    MAX_RATE,
    ScenarioError,
    find_scenario,
    load_catalogue,
)
from lab.scenarios.run_options import RunOptions
from lab.scenarios.scenario import REAL, SIMULATED, Scenario
from lab.scenarios.swarm import Swarm, draw_swarm
from lab.settings import SIMULATED as SIMULATED_PROFILE
from lab.settings import WALL_CLOCK, SettingError, Settings, settings_for

DEFAULT_ORDERS: Final = 100
DEFAULT_RATE: Final = 20.0
LIVE_RATE: Final = 50.0
"""Of orders out of a file on the wall clock, if neither --rate nor --speed is given."""
TAIL_US: Final = 5_000_000
"""Faults go on for so long after the last order, or until all is quiet."""

MAX_SEED: Final = 2**63 - 1

BEYOND: Final = (("payment.key_mode", "none"),)
"""Policies that only `--beyond-contract` allows: setting and value."""

Name = TypeVar("Name", bound=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSpec:
    """Which backend each part uses, and by which clock the run goes.

    Attributes:
        is_live: time is the machine's, also if every part is in memory.
        is_real: every process is one of the operating system, and every part is real.
        keep: topics, schema and keys of the run are left when it is over.
    """

    bus: Literal["memory", "kafka"] = "memory"
    store: Literal["memory", "postgres"] = "memory"
    dedupe: Literal["memory", "redis"] = "memory"
    is_live: bool = False
    is_real: bool = False
    keep: bool = False

    @property
    def mode(self) -> Literal["simulated", "wall-clock", "real"]:
        """The world, as the result names it."""
        if self.is_real:
            return "real"
        return "wall-clock" if self.is_live else "simulated"

    @property
    def profile(self) -> Literal["simulated", "wall-clock"]:
        """Which defaults its policies have."""
        return WALL_CLOCK if self.is_live else SIMULATED_PROFILE

    @property
    def is_in_memory(self) -> bool:
        """Whether every part is in memory."""
        return (self.bus, self.store, self.dedupe) == ("memory", "memory", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One run, decided in every detail.

    Attributes:
        options: as they were asked for; the other fields are made of them and of the scenario.
        orders: how many; None: as many as the file has.
        rate: orders a second; None: at their recorded times.
        orders_from: "" for made-up orders, `sample`, or a path.
        off: patterns that are off, in the order of their table.
        only: promises that are judged, in the order of their table; (): all.
        beyond: faults and policies that the design does not promise to survive; broken promises
            are expected then.
        drawn: faults and policies that the seed added to the scenario; None: the scenario is no
            swarm.
        asked: the faults among `faults` that the caller named, beside those of a scenario: one that
            never fires leaves the run without a verdict.
        watch: takes every entry of the run, beside those that judge it; None: nobody does.
        explicit: the firings of a recorded plan, which are run instead of the coins; None: the
            coins decide.
        make_plan: makes the plan of the run; another one than `FaultPlan` may note every visit.
    """

    options: RunOptions
    scenario: Scenario
    world: WorldSpec
    seed: int
    orders: int | None
    rate: float | None
    orders_from: str
    faults: tuple[FaultSpec, ...]
    off: tuple[str, ...]
    settings: Settings
    only: tuple[str, ...]
    beyond: tuple[str, ...] = ()
    drawn: Swarm | None = None
    asked: tuple[FaultSpec, ...] = ()
    watch: Sink | None = None
    explicit: tuple[Firing, ...] | None = None
    make_plan: Callable[..., FaultPlan] = FaultPlan


def make_spec(options: RunOptions) -> RunSpec:
    """Merge a scenario with the options of a run.

    Raises:
        ScenarioError, SettingError, FaultError: something is unknown, out of range, contradictory,
            or beyond the contract without `beyond_contract`.
    """
    world = choose_world(options)
    scenario = _without_sample(_find_scenario(options), options)
    _check_whole("seed", options.seed, 0, MAX_SEED)
    drawn = draw_swarm(options.seed, _world_of_swarm(world)) if scenario.swarm else None
    changes = {**(drawn.settings if drawn else {}), **scenario.settings, **options.settings}
    settings = settings_for(world.profile).with_changes(changes)
    texts = (*scenario.faults, *(drawn.faults if drawn else ()), *options.faults)
    faults = _parse_faults(world, texts, settings.number("run.members"))
    _check_copies(world, faults, settings)
    # The flags of `lab chaos` are faults of a scenario that was made for them.
    asked = faults if scenario.command else faults[len(faults) - len(options.faults) :]
    orders, rate = _how_many(scenario, options), _how_fast(world, scenario, options)
    _check_within("speed", options.speed, 1e-6, 1e9)
    return RunSpec(
        options=options,
        scenario=scenario,
        world=world,
        seed=options.seed,
        orders=orders,
        rate=rate,
        orders_from=_source(scenario, options),
        faults=faults,
        off=_known("pattern", options.off, patterns.NAMES, "lab list --patterns"),
        settings=settings,
        only=_known("promise", options.only, PROMISE_NAMES, "lab list --promises"),
        beyond=_beyond(faults, settings, is_allowed=options.beyond_contract),
        drawn=drawn,
        asked=asked,
    )


def _check_copies(world: WorldSpec, faults: Sequence[FaultSpec], settings: Settings) -> None:
    """Refuse more copies than the brokers in memory can have; a real broker says so itself.

    Raises:
        SettingError: see above.
    """
    if world.bus != "memory" or not any(fault.kind == LEADER_MOVE for fault in faults):
        return
    for name in ("bus.replication", "bus.min_insync"):
        if (asked := settings.number(name)) > BROKERS:
            raise SettingError(
                f"{name} = {asked} asks for more copies than there are brokers in memory "
                f"({BROKERS}): lower it"
            )


def without_faults(spec: RunSpec) -> RunSpec:
    """The same load in the same system, and nothing goes wrong; no file is written."""
    return replace(
        spec,
        options=replace(spec.options, out=None),
        scenario=replace(spec.scenario, goals=(), promises=(), compares=False),
        faults=(),
        beyond=(),
        asked=(),
        watch=None,
        explicit=None,
    )


def choose_world(options: RunOptions) -> WorldSpec:
    """The world that the options ask for; with any real part it runs on the wall clock.

    Raises:
        ScenarioError: there is no such backend.
    """
    if options.real:
        return WorldSpec(
            bus="kafka",
            store="postgres",
            dedupe="redis",
            is_live=True,
            is_real=True,
            keep=options.keep,
        )
    world = WorldSpec(
        bus=_one_of("bus", options.bus, ("memory", "kafka")),
        store=_one_of("store", options.store, ("memory", "postgres")),
        dedupe=_one_of("dedupe", options.dedupe, ("memory", "redis")),
        keep=options.keep,
    )
    return replace(world, is_live=options.wall_clock or not world.is_in_memory)


def _one_of(option: str, name: str, known: tuple[Name, ...]) -> Name:
    for one in known:
        if one == name:
            return one
    raise ScenarioError(f"{option} must be {' or '.join(known)}, not {name!r}")


def _find_scenario(options: RunOptions) -> Scenario:
    if isinstance(options.scenario, Scenario):
        return options.scenario
    return find_scenario(load_catalogue(options.scenarios), options.scenario)


def _without_sample(scenario: Scenario, options: RunOptions) -> Scenario:
    """The scenario without what is true of its own file alone: a clean file has no refusals."""
    if not scenario.orders_from or options.orders_from in (None, scenario.orders_from):
        return scenario
    return replace(
        scenario,
        goals=tuple(goal for goal in scenario.goals if parse_goal(goal).name != "refused"),
        promises=tuple(name for name in scenario.promises if name != "refused-leaves-nothing"),
    )


def _world_of_swarm(world: WorldSpec) -> str:
    """The world for which a swarm draws: lengths of time are those of its clock."""
    return REAL if world.is_live else SIMULATED


def _parse_faults(world: WorldSpec, texts: Sequence[str], members: int) -> tuple[FaultSpec, ...]:
    """The faults that were asked for, refused by name where they cannot exist."""
    faults = tuple(map(parse_fault, texts))
    name = REAL if world.is_real else SIMULATED
    for fault in faults:
        worlds = KINDS[fault.kind].worlds
        if name not in worlds:
            raise FaultError(
                f"{fault.kind} cannot exist in the {name} world, only: {', '.join(worlds)} "
                "(see: lab list --faults)"
            )
        if not KINDS[fault.kind].is_outage:
            _check_process(fault, members)
    return faults


def _check_process(fault: FaultSpec, members: int) -> None:
    """Refuse a fault of a process that the run does not have: it would strike nobody.

    Raises:
        FaultError: there is no process of that name.
    """
    group, dash, number = fault.process.partition("-")
    if dash and int(number) > (members if group in READS else 1):
        how = f"run.members is {members}" if group in READS else f"there is one {group}"
        raise FaultError(
            f"fault {fault.text!r}: there is no process {fault.process}, because {how}; take "
            f"@{group} for every one of its like"
        )


def _source(scenario: Scenario, options: RunOptions) -> str:
    """Where the orders come from, see `RunSpec.orders_from`."""
    return scenario.orders_from if options.orders_from is None else options.orders_from


def _how_many(scenario: Scenario, options: RunOptions) -> int | None:
    source = _source(scenario, options)
    count = scenario.orders if options.orders is None else options.orders
    if count is None:
        return None if source else DEFAULT_ORDERS
    if options.orders is None and source and not scenario.orders_from:
        return None
    return _check_whole("orders", count, 1, MAX_ORDERS)


def _how_fast(world: WorldSpec, scenario: Scenario, options: RunOptions) -> float | None:
    rate, source = options.rate, _source(scenario, options)
    if rate is None and source and world.is_live and options.speed == 1.0:
        # Nobody waits three months for recorded times.
        return LIVE_RATE
    if rate is None and source:
        return None if not scenario.orders_from else scenario.rate
    chosen = scenario.rate if rate is None else rate
    return _check_within("rate", DEFAULT_RATE if chosen is None else chosen, 1e-9, MAX_RATE)


def _check_whole(option: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ScenarioError(f"{option} must be from {low:,} to {high:,}, not {value:,}")
    return value


def _check_within(option: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ScenarioError(f"{option} must be from {low:g} to {high:,.0f}, not {value}")
    return value


def _known(kind: str, names: Sequence[str], known: Sequence[str], see: str) -> tuple[str, ...]:
    """The names, in the order of those that are known.

    Raises:
        ScenarioError: a name is not known.
    """
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ScenarioError(f"unknown {kind} {name!r}{hint} (see: {see})")
    return tuple(name for name in known if name in names)


def _beyond(
    faults: Sequence[FaultSpec], settings: Settings, *, is_allowed: bool
) -> tuple[str, ...]:
    """The faults and policies that the design does not promise to survive.

    Raises:
        ScenarioError: there are some, and they are not allowed.
    """
    found = [fault.text for fault in faults if fault.is_beyond_contract]
    found += [
        f"{fault.text} ({name} is longer than {policy} = {settings.number(policy)})"
        for fault in faults
        for name, longest_us, policy in fault.limits()
        if longest_us > settings.us(policy)
    ]
    found += [f"{key}={value}" for key, value in BEYOND if settings.text(key) == value]
    if found and not is_allowed:
        raise ScenarioError(
            f"{', '.join(found)}: beyond what the design promises to survive; with "
            "--beyond-contract it runs, and broken promises are expected"
        )
    return tuple(found)
