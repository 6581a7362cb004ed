"""How many orders validation refuses: as many as was asked for."""

from typing import Final

import pytest

from lab import run

SEEDS: Final = (1, 2, 3)


def rejected(percent: int, seed: int, orders: int = 200) -> int:
    """Orders that end REJECTED."""
    settings = {"validation.rejected_percent": percent}
    result = run("happy-path", seed=seed, orders=orders, settings=settings)
    assert [check.name for check in result.checks if check.verdict == "FAIL"] == []
    return result.orders.by_state.get("REJECTED", 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_orders_are_rejected_if_all_are_to_be(seed: int) -> None:
    assert rejected(100, seed, orders=50) == 50
    assert rejected(0, seed, orders=50) == 0


def test_as_many_orders_are_rejected_as_was_asked_for() -> None:
    assert 150 <= sum(rejected(30, seed) for seed in SEEDS) <= 210
