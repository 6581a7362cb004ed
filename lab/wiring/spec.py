"""What is to be run: a scenario with what the caller changed, checked before any of it runs.

Not here: parsing of a command line (`lab.cli`), and building the world (`simulated`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeVar

from lab import patterns
from lab.checks.registry import NAMES as PROMISE_NAMES
from lab.faults.table.kinds import KINDS
from lab.faults.table.spec import FaultError, FaultSpec, parse_fault
from lab.history.recorder import Sink
from lab.scenarios.loader import (
    MAX_ORDERS,
    MAX_RATE,
    ScenarioError,
    find_scenario,
    load_catalogue,
    nearest,
)
from lab.scenarios.scenario import Scenario
from lab.scenarios.swarm import Swarm, draw_swarm
from lab.settings import SIMULATED, WALL_CLOCK, Settings, settings_for

DEFAULT_ORDERS: Final = 100
DEFAULT_RATE: Final = 20.0
LIVE_RATE: Final = 50.0
"""Of orders out of a file on the wall clock, if neither --rate nor --speed is given."""
TAIL_US: Final = 5_000_000
"""Faults go on for so long after the last order, or until all is quiet."""

MAX_SEED: Final = 2**63 - 1

BEYOND: Final = (("payment.key_mode", "none"),)
"""Policies that only `--beyond-contract` allows: setting and value."""

HistoryKept = Literal["witnesses", "all"]
M = TypeVar("M", bound=str)


_MEMORY: Final = ("memory", "memory", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Makes:
    """Of what make the parts are that a run stands on.

    Attributes:
        is_live: time is the machine's, also if everything is in memory.
        is_real: every process is one of the operating system; all parts are real ones.
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
    def given(self) -> Mapping[str, object]:
        """These choices as options of the command line."""
        if self.is_real:
            return {"real": True, "keep": self.keep}
        return {
            "bus": None if self.bus == "memory" else self.bus,
            "store": None if self.store == "memory" else self.store,
            "dedupe": None if self.dedupe == "memory" else self.dedupe,
            "wall-clock": self.is_live and (self.bus, self.store, self.dedupe) == _MEMORY,
            "keep": self.keep,
        }

    @property
    def profile(self) -> Literal["simulated", "wall-clock"]:
        """Which defaults its policies have."""
        return WALL_CLOCK if self.is_live else SIMULATED


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One run, decided in every detail.

    Attributes:
        orders: how many; None: as many as the file has.
        rate: orders a second; None: at their recorded times.
        orders_from: "" for made-up orders, `sample`, or a path.
        speed: recorded times are divided by this.
        given: the options as the caller gave them, for the line that repeats the run.
        out: folder of run folders; None: nothing is written.
        beyond: what of it the design does not promise to survive; broken promises are expected.
        drawn: what the seed added to the scenario; None: nothing is left to it.
        watch: takes every entry of the run, beside those who judge it; None: nobody does.
    """

    scenario: Scenario
    makes: Makes
    seed: int
    orders: int | None
    rate: float | None
    orders_from: str
    speed: float
    faults: tuple[FaultSpec, ...]
    off: tuple[str, ...]
    settings: Settings
    only: tuple[str, ...]
    history: HistoryKept
    given: Mapping[str, object]
    out: Path | None
    beyond: tuple[str, ...] = ()
    drawn: Swarm | None = None
    watch: Sink | None = None


def make_spec(
    scenario: str | Scenario,
    *,
    makes: Makes | None = None,
    seed: int = 1,
    orders: int | None = None,
    rate: float | None = None,
    orders_from: str | None = None,
    speed: float = 1.0,
    faults: Sequence[str] = (),
    off: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
    only: Sequence[str] = (),
    scenarios: Sequence[Path] = (),
    history: HistoryKept = "witnesses",
    out: Path | None = None,
    beyond_contract: bool = False,
) -> RunSpec:
    """Merge a scenario with what the caller asked for.

    Raises:
        ScenarioError, SettingError, FaultError: something is unknown, out of range, contradictory,
            or beyond the contract without `beyond_contract`.
    """
    chosen = _chosen(scenario, scenarios)
    made = makes or Makes()
    source = chosen.orders_from if orders_from is None else orders_from
    given: dict[str, object] = {"orders": orders, "rate": rate, "orders-from": orders_from}
    given |= {"speed": None if speed == 1.0 else speed, "fault": tuple(faults), "off": tuple(off)}
    given |= {"set": dict(settings or {}), "only": tuple(only)}
    given |= {"scenarios": tuple(map(str, scenarios)), "beyond-contract": beyond_contract}
    given |= {"history": None if history == "witnesses" else history, **made.given}
    _whole("seed", seed, 0, MAX_SEED)
    drawn = draw_swarm(seed, "real" if made.is_live else SIMULATED) if chosen.swarm else None
    changes = {**(drawn.settings if drawn else {}), **chosen.settings, **(settings or {})}
    merged = settings_for(made.profile).with_changes(changes)
    asked = _faults(made, (*chosen.faults, *(drawn.faults if drawn else ()), *faults))
    return RunSpec(
        scenario=chosen,
        makes=made,
        seed=seed,
        orders=_how_many(chosen, orders, source),
        rate=_how_fast(made, chosen, rate, source, speed),
        orders_from=source,
        speed=_within("speed", speed, 1e-6, 1e9),
        faults=asked,
        off=_known("pattern", off, patterns.NAMES, "lab list --patterns"),
        settings=merged,
        only=_known("promise", only, PROMISE_NAMES, "lab list --promises"),
        history=history,
        given=given,
        out=out,
        beyond=_beyond(asked, merged, is_allowed=beyond_contract),
        drawn=drawn,
    )


def without_faults(spec: RunSpec) -> RunSpec:
    """The same load in the same system, and nothing goes wrong; nothing is written."""
    return replace(
        spec,
        scenario=replace(spec.scenario, goals=(), promises=(), compares=False),
        faults=(),
        out=None,
        beyond=(),
        watch=None,
    )


def _chosen(scenario: str | Scenario, scenarios: Sequence[Path]) -> Scenario:
    if isinstance(scenario, Scenario):
        return scenario
    return find_scenario(load_catalogue(scenarios), scenario)


def _beyond(
    faults: Sequence[FaultSpec], settings: Settings, *, is_allowed: bool
) -> tuple[str, ...]:
    """What the design does not promise to survive.

    Raises:
        ScenarioError: there is such a thing and nobody allowed it.
    """
    found = [fault.text for fault in faults if fault.is_beyond_contract]
    found += [f"{key}={value}" for key, value in BEYOND if settings.text(key) == value]
    if found and not is_allowed:
        raise ScenarioError(
            f"{', '.join(found)}: beyond what the design promises to survive; with "
            "--beyond-contract it runs, and broken promises are expected"
        )
    return tuple(found)


def choose_makes(
    *,
    real: bool = False,
    bus: str = "memory",
    store: str = "memory",
    dedupe: str = "memory",
    wall_clock: bool = False,
    keep: bool = False,
) -> Makes:
    """What a run stands on; anything real runs on the wall clock.

    Raises:
        ScenarioError: there is no such make.
    """
    if real:
        return Makes(
            bus="kafka",
            store="postgres",
            dedupe="redis",
            is_live=True,
            is_real=True,
            keep=keep,
        )
    makes = Makes(
        bus=_one_of("bus", bus, ("memory", "kafka")),
        store=_one_of("store", store, ("memory", "postgres")),
        dedupe=_one_of("dedupe", dedupe, ("memory", "redis")),
        keep=keep,
    )
    is_live = wall_clock or (makes.bus, makes.store, makes.dedupe) != _MEMORY
    return replace(makes, is_live=is_live)


def _one_of(what: str, name: str, known: tuple[M, ...]) -> M:
    for one in known:
        if one == name:
            return one
    raise ScenarioError(f"{what} must be {' or '.join(known)}, not {name!r}")


def _faults(makes: Makes, texts: Sequence[str]) -> tuple[FaultSpec, ...]:
    """The faults that were asked for, refused by name where they cannot exist."""
    faults = tuple(map(parse_fault, texts))
    world = "real" if makes.is_real else "simulated"
    for fault in faults:
        worlds = KINDS[fault.kind].worlds
        if world not in worlds:
            raise FaultError(
                f"{fault.kind} cannot exist in the {world} world, only: {', '.join(worlds)} "
                "(see: lab list --faults)"
            )
    return faults


def _how_many(scenario: Scenario, orders: int | None, source: str) -> int | None:
    count = orders if orders is not None else scenario.orders
    if count is None:
        return None if source else DEFAULT_ORDERS
    if orders is None and source and not scenario.orders_from:
        return None
    return _whole("orders", count, 1, MAX_ORDERS)


def _how_fast(
    makes: Makes, scenario: Scenario, rate: float | None, source: str, speed: float
) -> float | None:
    chosen = rate if rate is not None else scenario.rate
    if rate is None and source and makes.is_live and speed == 1.0:
        # Nobody waits three months for recorded times.
        return LIVE_RATE
    if rate is None and source:
        return None if not scenario.orders_from else scenario.rate
    return _within("rate", DEFAULT_RATE if chosen is None else chosen, 1e-9, MAX_RATE)


def _whole(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ScenarioError(f"{name} must be from {low} to {high:,}, not {value}")
    return value


def _within(name: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ScenarioError(f"{name} must be above 0 and at most {high:,.0f}, not {value}")
    return value


def _known(what: str, names: Sequence[str], known: Sequence[str], see: str) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise ScenarioError(f"unknown {what} {name!r}{nearest(name, known)} (see: {see})")
    return tuple(name for name in known if name in names)
