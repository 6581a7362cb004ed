"""A scenario that names a pattern breaks without it: else it teaches that nobody needs the pattern.

Where another layer saves it, the page says so, and without both of them it breaks. Not here: which
promises break, exactly (`test_scenarios.py`).
"""

import pytest

from lab import run
from lab.report.result import Result
from lab.scenarios.loader import load_catalogue
from lab.wiring.outcome import SAVED_BY

SEEDS = (1, 2, 3)
ORDERS_MAX = 200

NAMED = tuple(
    (scenario.name, pattern)
    for scenario in load_catalogue().values()
    if not scenario.swarm
    for pattern in scenario.patterns
)
"""Scenario and pattern. A swarm names all that its seeds may put at risk."""

CROWDS = ("black-friday",)
"""Scenarios about a great many orders."""


def run_without(name: str, seed: int, *off: str) -> Result:
    scenario = load_catalogue()[name]
    orders = scenario.orders if name in CROWDS else min(scenario.orders or 0, ORDERS_MAX)
    return run(name, seed=seed, orders=orders, off=off)


@pytest.mark.parametrize(("name", "pattern"), NAMED)
def test_a_scenario_breaks_without_a_pattern_that_it_names(name: str, pattern: str) -> None:
    without = []
    for seed in SEEDS:
        result = run_without(name, seed, pattern)
        if result.verdict == "FAIL":
            return
        without.append(result)

    saviours = [other for other, _, _ in SAVED_BY.get(pattern, ())]
    assert any(f"{pattern} is off: " in result.why for result in without), "who has saved it?"
    assert "FAIL" in [run_without(name, seed, pattern, *saviours).verdict for seed in SEEDS]


def test_most_scenarios_name_a_pattern() -> None:
    assert len({name for name, _ in NAMED}) > 15
