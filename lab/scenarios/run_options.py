"""Everything that can be asked of a run, in one object, as it was asked: nothing is checked yet.

The command line makes one of its flags and `LAB_*` variables, and `lab.run` of its keywords. Not
here: the run that is made of them (`lab.wiring.spec`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lab.scenarios.scenario import Scenario

HistoryKept = Literal["witnesses", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of one run; `None` and `()` where the scenario, or nobody, decides.

    Attributes:
        scenario: name of one in a catalogue, or one that stands in none.
        real: in processes of the operating system, on Kafka, PostgreSQL and Redis.
        bus: `memory` or `kafka`; any real part makes the run one on the wall clock.
        store: `memory` or `postgres`.
        dedupe: `memory` or `redis`.
        wall_clock: on the wall clock, also if every part is in memory.
        keep: topics, schema and keys of the run are left on the servers.
        seed: root of every coin, id and latency; the same seed gives the same run.
        orders: how many orders.
        rate: orders a second, of simulated time in the simulated world.
        orders_from: `sample`, or a file of orders: NDJSON or CSV, plain or gzip; `-` is
            standard input.
        speed: recorded times of `orders_from` are divided by this.
        faults: more faults, beside those of the scenario.
        off: names of patterns to switch off.
        settings: policies that differ, by name.
        only: names of promises to judge; (): all.
        scenarios: TOML files with more scenarios, beside the shipped ones.
        history: `all` keeps every entry of a long run on disk, `witnesses` those of a few orders.
        out: folder in which the run gets its own; None: no file is written.
        beyond_contract: faults and policies are allowed that the design does not promise to
            survive; broken promises are expected then, and the verdict is UNKNOWN.
    """

    scenario: str | Scenario
    real: bool = False
    bus: str = "memory"
    store: str = "memory"
    dedupe: str = "memory"
    wall_clock: bool = False
    keep: bool = False
    seed: int = 1
    orders: int | None = None
    rate: float | None = None
    orders_from: str | None = None
    speed: float = 1.0
    faults: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    scenarios: tuple[Path, ...] = ()
    history: HistoryKept = "witnesses"
    out: Path | None = None
    beyond_contract: bool = False
