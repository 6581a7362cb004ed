"""A scenario: one named experiment, as frozen data. Reading it from TOML is `loader`'s."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SIMULATED: Final = "simulated"
REAL: Final = "real"
WORLDS: Final = (SIMULATED, REAL)
SAMPLE: Final = "sample"
SPIKE_TIMES_MAX: Final = 1_000

_SPIKE: Final = re.compile(r"(\d{1,4})x at=(\d{1,6}(?:\.\d{1,3})?)s for=(\d{1,6}(?:\.\d{1,3})?)s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """For a while orders come faster.

    Attributes:
        times: so many times as fast.
        at_us, for_us: begin and length, in microseconds of the load.
    """

    times: int
    at_us: int
    for_us: int

    def __str__(self) -> str:
        return f"{self.times}x at={self.at_us / 1_000_000:g}s for={self.for_us / 1_000_000:g}s"

    def moved_us(self, at_us: int) -> int:
        """When an order comes that would come at `at_us` without the spike."""
        if at_us <= self.at_us:
            return at_us
        # Within the spike a gap is shorter; behind it everything comes earlier.
        within_us = (at_us - self.at_us) // self.times
        if within_us <= self.for_us:
            return self.at_us + within_us
        return at_us - self.for_us * (self.times - 1)


def parse_spike(text: str) -> Spike:
    """The spike that a scenario writes as `20x at=5s for=2s`.

    Raises:
        ValueError: it is none.
    """
    found = _SPIKE.fullmatch(text.strip())
    if found is None or not 2 <= int(found[1]) <= SPIKE_TIMES_MAX or float(found[3]) <= 0:
        raise ValueError(f"{text!r} is no spike; one looks like: 20x at=5s for=2s")
    at_us, for_us = (round(float(seconds) * 1_000_000) for seconds in found.group(2, 3))
    return Spike(times=int(found[1]), at_us=at_us, for_us=for_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One named experiment.

    Attributes:
        summary: one line: the failure.
        story: a few sentences: why real systems fail so, and where to look here.
        worlds: where it can run.
        orders: how many orders; None with `orders_from`: all of them.
        rate: orders a second; None with `orders_from`: at their recorded times.
        spike: when made-up orders come faster; None: never.
        orders_from: "" for made-up orders, `sample` for the shipped real ones, else a file.
        faults: fault specifications, as `--fault` takes them.
        patterns: the patterns that it teaches.
        promises: the promises at risk; UNKNOWN for one of them makes the run UNKNOWN.
        goals: events that must really happen, such as `bus.duplicate >= 4 %`.
        next: commands to try next.
        settings: policies that differ from the defaults.
        swarm: each seed draws more faults and policies of its own.
        command: the words that run it if it stands in no file; empty: `lab run NAME`.
        compares: the same load runs once more without faults, to show their costs.
    """

    name: str
    summary: str
    story: str = ""
    worlds: tuple[str, ...] = ("simulated",)
    orders: int | None = None
    rate: float | None = None
    spike: Spike | None = None
    orders_from: str = ""
    faults: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    promises: tuple[str, ...] = ()
    goals: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    swarm: bool = False
    source: str = "scenarios.toml"
    command: tuple[str, ...] = ()
    compares: bool = False
