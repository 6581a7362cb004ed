"""The runs by which a mutant is judged, the quick ones that find most first."""

import tomllib
from dataclasses import dataclass
from typing import Final

from tests.hunt.targets import TOP

_FIRST: Final = (
    *("happy-path", "cancellation", "declined-cards", "duplicates", "timeouts", "crashes"),
    *("poison-message", "dlq-redrive", "hung-after-charge", "client-retries"),
    *("graceful-shutdown", "expiring", "real-orders", "postgres-outage"),
)
_SWARM: Final = "everything"
_ORDERS: Final = 30
"""Nearly all faults strike once in so many orders; for the others see `_ORDERS_OF`."""

_ORDERS_OF: Final = {
    "real-orders": 60,
    "black-friday": 1000,
    # What comes only after some seconds must not come after the faults.
    "cancellation": 300,
    "client-retries": 100,
    "dlq-redrive": 300,
    "graceful-shutdown": 45,
    "rebalance-storm": 120,
}
_LARGE: Final = frozenset({"black-friday"})
"""Run at one seed only."""

_SEEDS: Final = (1, 2, 3)
_SWARM_ORDERS: Final = 20
_SWARM_SEEDS: Final = range(1, 21)


@dataclass(frozen=True, slots=True)
class Run:
    """One run."""

    scenario: str
    seed: int
    orders: int

    def __str__(self) -> str:
        return f"{self.scenario} seed {self.seed}"


def all_runs() -> list[Run]:
    """Every scenario that ships at one seed, at the others, then the mixture."""
    with (TOP / "scenarios.toml").open("rb") as file:
        shipped = [name for name in tomllib.load(file)["scenarios"] if name != _SWARM]
    names = [name for name in _FIRST if name in shipped]
    names += [name for name in shipped if name not in names]
    return [
        *(
            Run(name, seed, _ORDERS_OF.get(name, _ORDERS))
            for seed in _SEEDS
            for name in names
            if seed == _SEEDS[0] or name not in _LARGE
        ),
        *(Run(_SWARM, seed, _SWARM_ORDERS) for seed in _SWARM_SEEDS),
    ]


def parse_runs(text: str) -> list[Run]:
    """`happy-path:1 everything:7` as runs."""
    runs = []
    for word in text.split():
        name, _, seed = word.partition(":")
        orders = _SWARM_ORDERS if name == _SWARM else _ORDERS_OF.get(name, _ORDERS)
        runs.append(Run(name, int(seed or 1), orders))
    return runs
