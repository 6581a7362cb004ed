"""A scenario: one named experiment, as frozen data. Reading it from TOML is `loader`'s."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

WORLDS: Final = ("simulated", "real")
SAMPLE: Final = "sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One named experiment.

    Attributes:
        summary: one line: what goes wrong.
        story: a few sentences: why it goes wrong in real systems, and what to watch here.
        worlds: where it can run.
        orders: how many orders; None with `orders_from`: all of them.
        rate: orders a second; None with `orders_from`: at their recorded times.
        orders_from: "" for made-up orders, `sample` for the shipped real ones, else a file.
        faults: fault specifications, as `--fault` takes them.
        patterns: the patterns that it teaches.
        promises: the promises at risk; UNKNOWN for one of them makes the run UNKNOWN.
        goals: what must really happen, such as `bus.duplicate >= 4 %`.
        next: commands to try next.
        settings: policies that differ from the defaults.
    """

    name: str
    summary: str
    story: str = ""
    worlds: tuple[str, ...] = ("simulated",)
    orders: int | None = None
    rate: float | None = None
    orders_from: str = ""
    faults: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    promises: tuple[str, ...] = ()
    goals: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    source: str = "scenarios.toml"
