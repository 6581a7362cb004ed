"""Each crash point: it is reached, and with every pattern on no promise breaks there.

An order may pass a point many times; the first, a middle and the last order die at their first.
Deliberately not here: crashes at a random port call (the scenario `crashes`).
"""

import pytest

from lab import run
from lab.domain.events import READS
from lab.faults.points import CRASH_POINTS, MID_DRAIN
from lab.report.result import Result

ORDERS = 7

WAYS = {
    "retry.after_publish": "svc.error@mailer#{} first=1",
    "dlq.before_publish": "bus.poison@OrderCreated#{}",
    "dlq.after_publish": "bus.poison@OrderCreated#{}",
}
"""What it takes to come to a point that a healthy order never passes."""


def crashed(*faults: str, seed: int) -> Result:
    settings = {"retry.in_place": 1}
    return run("happy-path", orders=ORDERS, rate=10, faults=faults, settings=settings, seed=seed)


def broken(result: Result) -> list[str]:
    return [check.name for check in result.checks if check.verdict == "FAIL"]


def crashes(result: Result) -> int:
    return sum(fault.fired for fault in result.faults if fault.name == "proc.crash")


@pytest.mark.parametrize("order", [1, ORDERS // 2 + 1, ORDERS])
@pytest.mark.parametrize("point", [point for point in CRASH_POINTS if point != MID_DRAIN])
def test_no_promise_breaks_where_an_order_kills_its_process(point: str, order: int) -> None:
    ways = [WAYS[point].format(order)] if point in WAYS else []

    result = crashed(f"proc.crash@{point}#{order} first=1", *ways, seed=order)

    assert crashes(result) == 1
    assert broken(result) == []


@pytest.mark.parametrize("group", READS)
def test_no_promise_breaks_where_a_process_dies_in_its_drain(group: str) -> None:
    for at in ("10ms", "400ms", "650ms"):
        result = crashed(f"proc.term@{group} at={at}", f"proc.crash@{MID_DRAIN} first=1", seed=1)

        assert crashes(result) == 1
        assert broken(result) == []
